#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>

#include "io/checksum.h"
#include "io/file_lock.h"
#include "io/files.h"
#include "io/folder_space.h"
#include "io/output_file.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Io : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "vramwise_io_XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override {
    std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
    EXPECT_TRUE(remove_path(folder_).ok());
  }

  std::string at(const std::string& name) const { return join_path(folder_, name); }

  std::string folder_;
};

TEST_F(Io, ReplacesAFileAndLeavesNothingElse) {
  ASSERT_TRUE(write_file_atomically(at("a"), "one").ok());
  ASSERT_TRUE(write_file_atomically(at("a"), std::string(200'000, 'x')).ok());
  EXPECT_EQ(read_file(at("a")).value(), std::string(200'000, 'x'));
  EXPECT_THAT(list_folder(folder_).value(), ElementsAre("a"));
}

TEST_F(Io, NamesTheFileAndTheReason) {
  EXPECT_THAT(read_file(at("none")).error().what, HasSubstr(at("none") + ": No such file"));
  EXPECT_THAT(read_file(folder_).error().what, HasSubstr("directory"));
  EXPECT_THAT(write_file_atomically(at("."), "x").error().what, HasSubstr("is a folder"));
  EXPECT_THAT(write_file_atomically(at("none/a"), "x").error().what, HasSubstr("No such file"));
  ASSERT_TRUE(write_file_atomically(at("a"), "12345").ok());
  EXPECT_TRUE(read_file(at("a"), 5).ok());
  EXPECT_THAT(read_file(at("a"), 4).error().what, HasSubstr("larger than 4 bytes"));
}

TEST_F(Io, FoldersAreMadeUnlessAFileIsInTheWay) {
  EXPECT_TRUE(make_folders(at("a/b/c")).ok());
  EXPECT_TRUE(make_folders(at("a/b/c")).ok());
  ASSERT_TRUE(write_file_atomically(at("f"), "x").ok());
  EXPECT_FALSE(make_folders(at("f")).ok());
  EXPECT_FALSE(make_folders(at("f/")).ok());
  EXPECT_FALSE(make_folders(at("f/g")).ok());
}

TEST_F(Io, ListRenameRemove) {
  ASSERT_TRUE(make_folders(at("b")).ok());
  ASSERT_TRUE(write_file_atomically(at("b/file"), "x").ok());
  ASSERT_TRUE(write_file_atomically(at("a"), "x").ok());
  EXPECT_THAT(list_folder(folder_).value(), ElementsAre("a", "b"));
  EXPECT_TRUE(rename_path(at("b"), at("c")).ok());
  EXPECT_TRUE(path_exists(at("c/file")));
  // A folder that holds something is not replaced.
  ASSERT_TRUE(make_folders(at("d")).ok());
  EXPECT_THAT(rename_path(at("d"), at("c")).error().what, HasSubstr("not empty"));
  EXPECT_TRUE(sync_folder(folder_).ok());
  EXPECT_TRUE(remove_path(at("c")).ok());
  EXPECT_TRUE(remove_path(at("c")).ok());
  EXPECT_FALSE(path_exists(at("c")));
  EXPECT_THAT(list_folder(at("c")).error().what, HasSubstr("No such file"));
  EXPECT_THAT(sync_folder(at("c")).error().what, HasSubstr("No such file"));
}

TEST_F(Io, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  // /dev/full takes every open and answers every write with ENOSPC.
  if (!path_exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  ASSERT_TRUE(write_file_atomically(at("a"), "old").ok());
  std::filesystem::create_symlink("/dev/full", at("a.tmp-" + std::to_string(::getpid())));
  const Status status = write_file_atomically(at("a"), "new");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().what, HasSubstr("No space left"));
  EXPECT_THAT(status.error().remedy, HasSubstr("Free some space"));
  EXPECT_EQ(status.error().code, ErrorCode::kWorld);
  EXPECT_EQ(read_file(at("a")).value(), "old");
  EXPECT_THAT(list_folder(folder_).value(), ElementsAre("a"));
}

TEST_F(Io, AFolderWithoutPermissionIsAnError) {
  using std::filesystem::perms;
  std::filesystem::permissions(folder_, perms::owner_read | perms::owner_exec);
  // Root may write everywhere, so it becomes nobody for a moment.
  const bool root = ::geteuid() == 0;
  if (root && ::seteuid(65534) != 0) GTEST_SKIP() << "root here cannot become another user";
  const Status status = write_file_atomically(at("a"), "x");
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().what, HasSubstr("Permission denied"));
  EXPECT_THAT(status.error().remedy, HasSubstr("permissions"));
}

TEST_F(Io, ALockIsHeldByOneProcess) {
  auto lock = FileLock::acquire(at("lock"), "a run in out");
  ASSERT_TRUE(lock.ok());
  // flock belongs to the open file, so a second open in this process stands for another process.
  const auto second = FileLock::acquire(at("lock"), "a run in out");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().what, "a run in out is still going on (process " + std::to_string(::getpid()) + ")");
  EXPECT_EQ(second.error().code, ErrorCode::kWorld);
  {
    const FileLock gone = std::move(*lock);
  }
  EXPECT_TRUE(FileLock::acquire(at("lock"), "a run in out").ok());
  EXPECT_TRUE(FileLock::wait(at("lock")).ok());
}

TEST_F(Io, ALockIsHandedOverWithoutAGap) {
  auto lock = FileLock::acquire(at("lock"), "a run in out");
  ASSERT_TRUE(lock.ok());
  const int descriptor = lock->hand_over().value();
  EXPECT_EQ(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0) << "it must live over an exec";
  EXPECT_FALSE(FileLock::acquire(at("lock"), "a run in out").ok());
  {
    const auto adopted = FileLock::adopt(descriptor, at("lock"));
    ASSERT_TRUE(adopted.ok()) << adopted.error().what;
    EXPECT_NE(::fcntl(descriptor, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_FALSE(FileLock::acquire(at("lock"), "a run in out").ok());
  }
  EXPECT_TRUE(FileLock::acquire(at("lock"), "a run in out").ok());
  EXPECT_FALSE(FileLock::adopt(0, at("lock")).ok()) << "stdin is no lock";
}

TEST_F(Io, SpaceOfAFolderThatIsYetToBeMade) {
  const auto space = folder_space(at("not/yet/there"));
  ASSERT_TRUE(space.ok()) << space.error().what;
  EXPECT_GT(space->free, Bytes(0));
  if (path_exists("/dev/shm")) {
    EXPECT_TRUE(folder_space("/dev/shm/x")->is_in_memory);
  }
}

TEST_F(Io, ALockEndsWithItsProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::acquire(at("lock"), "x");
    ::_exit(lock.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(FileLock::acquire(at("lock"), "x").ok());
}

std::uint64_t checksum_in_pieces(const std::string& text, std::size_t piece) {
  Checksum checksum;
  for (std::span<const char> rest(text); !rest.empty();) {
    const std::size_t count = std::min(piece, rest.size());
    checksum.add(std::as_bytes(rest.first(count)));
    rest = rest.subspan(count);
  }
  return checksum.value();
}

TEST(ChecksumTest, DependsOnEveryByteButNotOnThePieces) {
  std::string text;
  for (int i = 0; i < 1003; ++i) text.push_back(static_cast<char>(i * 37));
  const std::uint64_t whole = checksum_in_pieces(text, text.size());
  for (const std::size_t piece : {1U, 3U, 8U, 13U, 500U}) EXPECT_EQ(checksum_in_pieces(text, piece), whole) << piece;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x80);
    EXPECT_NE(checksum_in_pieces(damaged, 64), whole) << i;
  }
  EXPECT_NE(checksum_in_pieces(text + '\0', 64), whole);
}

}  // namespace
}  // namespace vramwise
