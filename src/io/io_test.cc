#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "io/atomic_file.h"
#include "io/file_lock.h"
#include "io/mapped_file.h"

namespace vramwise {
namespace {

namespace fs = std::filesystem;

class IoTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "vramwise_io_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    fs::permissions(folder_, fs::perms::owner_all);
    fs::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(IoTest, AFileAppearsOnlyWhenCommitted) {
  auto file = AtomicFile::create(path("a"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->append("one ").ok());
  ASSERT_TRUE(file->append("two").ok());
  EXPECT_FALSE(fs::exists(path("a")));
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(read_text_file(path("a")).value(), "one two");
  EXPECT_EQ(files(), 1U);
}

TEST_F(IoTest, WhatIsNotCommittedLeavesTheOldFileAndNoTrace) {
  ASSERT_TRUE(write_file_atomically(path("a"), "old").ok());
  {
    auto file = AtomicFile::create(path("a"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append("new").ok());
  }
  EXPECT_EQ(read_text_file(path("a")).value(), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(IoTest, AFullDiskIsAnErrorThatNamesTheFile) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  fs::create_symlink("/dev/full", path("full." + std::to_string(::getpid()) + ".tmp"));
  auto file = AtomicFile::create(path("full"));
  ASSERT_TRUE(file.ok());
  const Status status = file->append("x");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "writing " + path("full") + ": No space left on device");
  EXPECT_NE(status.error().remedy, "");
}

TEST_F(IoTest, AFolderWithoutPermissionIsAnError) {
  fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
  // Root may write everywhere, so it becomes nobody for a moment.
  const bool root = ::geteuid() == 0;
  if (root && ::seteuid(65534) != 0) GTEST_SKIP() << "root here cannot become another user";
  const Status status = write_file_atomically(path("a"), "x");
  if (root) ASSERT_EQ(::seteuid(0), 0);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "cannot write " + path("a") + ": Permission denied");
}

TEST_F(IoTest, ReadingChecksTheSize) {
  ASSERT_TRUE(write_file_atomically(path("a"), "12345").ok());
  EXPECT_TRUE(read_text_file(path("a"), 5).ok());
  EXPECT_FALSE(read_text_file(path("a"), 4).ok());
  EXPECT_EQ(read_text_file(path("b")).error().what, "cannot read " + path("b") + ": No such file or directory");
  EXPECT_FALSE(read_text_file(folder_.string()).ok());
}

TEST_F(IoTest, FoldersAreMadeUnlessAFileIsInTheWay) {
  EXPECT_TRUE(make_folder(path("a/b/c")).ok());
  EXPECT_TRUE(make_folder(path("a/b/c")).ok());
  ASSERT_TRUE(write_file_atomically(path("f"), "x").ok());
  EXPECT_FALSE(make_folder(path("f")).ok());
  EXPECT_FALSE(make_folder(path("f/")).ok());
  EXPECT_FALSE(make_folder(path("f/g")).ok());
}

TEST_F(IoTest, MappedFilesShowTheirText) {
  ASSERT_TRUE(write_file_atomically(path("a"), "hello").ok());
  const auto mapped = MappedFile::open(path("a")).value();
  EXPECT_EQ(mapped->text(), "hello");
  mapped->release_pages();
  EXPECT_EQ(mapped->text(), "hello");
}

TEST_F(IoTest, AnEmptyFileMapsToNothing) {
  ASSERT_TRUE(write_file_atomically(path("a"), "").ok());
  EXPECT_EQ(MappedFile::open(path("a")).value()->text(), "");
}

TEST_F(IoTest, FoldersAndMissingFilesAreNotMapped) {
  EXPECT_EQ(MappedFile::open(folder_.string()).error().what,
            "cannot read " + folder_.string() + ": not a regular file");
  EXPECT_FALSE(MappedFile::open(path("none")).ok());
}

TEST_F(IoTest, ALockIsHeldByOne) {
  auto first = FileLock::attempt(path("lock"));
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(first->has_value());
  EXPECT_FALSE(FileLock::attempt(path("lock"))->has_value());
  *first = std::nullopt;
  EXPECT_TRUE(FileLock::attempt(path("lock"))->has_value());
  EXPECT_TRUE(FileLock::wait(path("lock")).ok());
}

}  // namespace
}  // namespace vramwise
