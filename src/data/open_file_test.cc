#include "data/open_file.h"

#include <gtest/gtest.h>

#include <array>

#include "data/temporary_folder.h"

namespace vramwise {
namespace {

TEST(OpenFile, ReadsByPosition) {
  const TemporaryFolder folder;
  const auto file = OpenFile::open(folder.write("a", "hello")).value();
  EXPECT_EQ(file->size(), 5);
  std::array<std::byte, 3> part{};
  ASSERT_TRUE(file->read(1, part).ok());
  EXPECT_EQ(part, (std::array{std::byte{'e'}, std::byte{'l'}, std::byte{'l'}}));
  EXPECT_TRUE(file->read(5, {}).ok());
}

TEST(OpenFile, WhatIsNoFileIsAnError) {
  const TemporaryFolder folder;
  EXPECT_EQ(OpenFile::open(folder.path()).error().what, "cannot read " + folder.path() + ": not a regular file");
  EXPECT_EQ(OpenFile::open(folder.at("b")).error().what,
            "cannot read " + folder.at("b") + ": No such file or directory");
}

TEST(OpenFile, AFileThatBecameShorterIsAnError) {
  const TemporaryFolder folder;
  const auto file = OpenFile::open(folder.write("a", "hello")).value();
  std::filesystem::resize_file(folder.at("a"), 2);
  std::array<std::byte, 3> part{};
  const Status read = file->read(1, part);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kWorld);
  EXPECT_EQ(read.error().what, folder.at("a") + " was cut short while it was in use: it had 5 bytes and ends at 2 now");
  std::array<std::byte, 1> first{};
  EXPECT_TRUE(file->read(1, first).ok());
}

TEST(OpenFile, AFileThatWasReplacedIsStillTheOldOne) {
  const TemporaryFolder folder;
  const auto file = OpenFile::open(folder.write("a", "old")).value();
  std::filesystem::rename(folder.write("b", "n"), folder.at("a"));
  std::array<std::byte, 3> all{};
  ASSERT_TRUE(file->read(0, all).ok());
  EXPECT_EQ(all[0], std::byte{'o'});
}

}  // namespace
}  // namespace vramwise
