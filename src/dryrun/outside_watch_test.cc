#include "dryrun/outside_watch.h"

#include <gtest/gtest.h>

#include "dryrun/sandbox/run_folder.h"
#include "io/files.h"

namespace vramwise {
namespace {

TEST(OutsideWatch, TellsOfPyTorchWithoutTheEmulator) {
  const auto folder = RunFolder::make();
  const std::string proc = join_path(folder->ledgers(), "proc");
  const auto process = [&](const char* id, const std::string& environment, const std::string& maps) {
    ASSERT_TRUE(make_folders(join_path(proc, id)).ok());
    ASSERT_TRUE(write_file_atomically(join_path(proc, std::string(id) + "/environ"), environment).ok());
    ASSERT_TRUE(write_file_atomically(join_path(proc, std::string(id) + "/maps"), maps).ok());
  };
  const std::string torch = "7f00-7f01 r-xp /env/torch/lib/libtorch_cuda.so\n";
  const std::string emulator = "7f02-7f03 r-xp /lib/libvramwise_emulator.so\n";
  process("1", "VRAMWISE_GPUS={}", torch + emulator);
  process("2", "HOME=/", torch);
  process("3", "HOME=/", "7f00-7f01 r-xp /lib/libc.so.6\n");
  process("4", "", torch + emulator);  // preloaded by other means
  OutsideWatch watch(folder->ledgers(), proc);
  const auto processes = [] { return std::vector<int>{1, 2, 3, 4, 5}; };
  const auto told = [&](int id) { return path_exists(join_path(folder->ledgers(), "outside." + std::to_string(id))); };
  watch(processes);
  EXPECT_TRUE(told(2));
  for (const int id : {1, 3, 4, 5}) EXPECT_FALSE(told(id)) << id;
  process("3", "HOME=/", torch);  // imported later
  for (int i = 0; i < 9; ++i) watch(processes);
  EXPECT_FALSE(told(3)) << "it looks once a second";
  watch(processes);
  EXPECT_TRUE(told(3));
}

}  // namespace
}  // namespace vramwise
