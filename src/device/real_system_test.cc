// The real machine that runs this test: only what holds on any Linux.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "device/machine.h"
#include "device/system.h"

namespace vramwise {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(RealSystem, ReadsProcAndRefusesFolders) {
  RealSystem system;
  EXPECT_THAT(system.read_file("/proc/meminfo").value_or(""), HasSubstr("MemTotal"));
  EXPECT_FALSE(system.read_file("/proc"));
  EXPECT_FALSE(system.read_file("/no/such/file"));
  EXPECT_THAT(system.list_folder("/proc/self"), Contains("status"));
  EXPECT_TRUE(system.list_folder("/no/such/folder").empty());
  EXPECT_TRUE(system.read_link("/proc/self/exe"));
  EXPECT_FALSE(system.read_link("/proc/meminfo"));
  EXPECT_EQ(system.process_id(), getpid());
}

TEST(RealSystem, TellsUnsetFromEmpty) {
  RealSystem system;
  setenv("VRAMWISE_TEST_VARIABLE", "", 1);
  EXPECT_EQ(system.environment("VRAMWISE_TEST_VARIABLE"), "");
  unsetenv("VRAMWISE_TEST_VARIABLE");
  EXPECT_FALSE(system.environment("VRAMWISE_TEST_VARIABLE"));
}

TEST(RealSystem, DiskSpaceOfThisFolder) {
  RealSystem system;
  const auto space = system.disk_space(system.current_folder());
  ASSERT_TRUE(space);
  EXPECT_GT(space->total, Bytes(0));
  EXPECT_GE(space->total, space->available);
  EXPECT_FALSE(system.disk_space("/no/such/folder"));
}

TEST(RealSystem, ReadNumber) {
  RealSystem system;
  const std::string path = ::testing::TempDir() + "vramwise_number_" + std::to_string(getpid());
  const auto read_back = [&](const std::string& content) {
    std::ofstream(path) << content;
    return read_number(system, path);
  };
  EXPECT_EQ(read_back("123\n"), 123);
  EXPECT_EQ(read_back("0x10de\n"), 0x10de);
  EXPECT_EQ(read_back("9223372036854771712"), 9223372036854771712);
  EXPECT_EQ(read_back("max\n"), std::nullopt);
  EXPECT_EQ(read_back("12 kB\n"), std::nullopt);
  EXPECT_EQ(read_back("99999999999999999999\n"), std::nullopt);
  EXPECT_EQ(read_back(""), std::nullopt);
  unlink(path.c_str());
}

TEST(RealSystem, ProbesThisMachine) {
  RealSystem system;
  const auto machine = probe(system);
  ASSERT_TRUE(machine.ok());
  ASSERT_TRUE(machine->host.total);
  ASSERT_TRUE(machine->host.budget());
  EXPECT_GT(*machine->host.budget(), Bytes(0));
  EXPECT_LE(*machine->host.budget(), *machine->host.total);
  EXPECT_THAT(describe(*machine), HasSubstr("Host memory"));
}

}  // namespace
}  // namespace vramwise
