#include "data/mapped_file.h"

#include <gtest/gtest.h>

#include "data/temporary_folder.h"

namespace vramwise {
namespace {

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  EXPECT_EQ(MappedFile::open(folder.write("a", "")).value()->text(), "");
}

TEST(MappedFile, ReadsAgainAfterItsPagesWereGivenBack) {
  const TemporaryFolder folder;
  const auto file = MappedFile::open(folder.write("a", "hello")).value();
  file->release_pages(file->bytes().subspan(2));
  EXPECT_EQ(file->text(), "hello");
}

TEST(MappedFile, WhatIsNoFileIsAnError) {
  const TemporaryFolder folder;
  EXPECT_EQ(MappedFile::open(folder.path()).error().what, "cannot read " + folder.path() + ": not a regular file");
  EXPECT_EQ(MappedFile::open(folder.at("b")).error().what,
            "cannot read " + folder.at("b") + ": No such file or directory");
}

}  // namespace
}  // namespace vramwise
