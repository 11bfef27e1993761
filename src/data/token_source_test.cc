#include "data/token_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/temporary_folder.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;

std::vector<std::int64_t> all(const TokenSource& source) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(source.size()));
  source.read(0, source.size(), ids.data());
  return ids;
}

TokenSource file_source(const std::string& path, TokenType type) {
  return TokenSource::from_file(MappedFile::open(path).value(), type);
}

TEST(TokenSource, ReadsEachType) {
  const TemporaryFolder folder;
  const std::string bytes = folder.write("a.txt", std::string("\xFF\x00z", 3));
  const std::string halves = folder.write_tokens<std::uint16_t>("a.bin", {1, 65535, 7});
  const std::string words = folder.write_tokens<std::uint32_t>("b.bin", {1, 4294967295U, 7});
  EXPECT_THAT(all(file_source(bytes, TokenType::kUint8)), ElementsAre(255, 0, 'z'));
  EXPECT_THAT(all(file_source(halves, TokenType::kUint16)), ElementsAre(1, 65535, 7));
  EXPECT_THAT(all(file_source(words, TokenType::kUint32)), ElementsAre(1, 4294967295, 7));
}

TEST(TokenSource, TheBytesOfATokenFileAreLittleEndian) {
  const TemporaryFolder folder;
  EXPECT_THAT(all(file_source(folder.write("a.bin", std::string("\x01\x02", 2)), TokenType::kUint16)),
              ElementsAre(0x201));
}

TEST(TokenSource, PiecesReadAsOneRow) {
  const TemporaryFolder folder;
  const TokenSource joined =
      file_source(folder.write("a", "abc"), TokenType::kUint8)
          .then(TokenSource::from_ids({1000, 2000}))
          .then(TokenSource())
          .then(file_source(folder.write_tokens<std::uint16_t>("b", {300, 400, 500}), TokenType::kUint16));
  const std::vector<std::int64_t> expected = {'a', 'b', 'c', 1000, 2000, 300, 400, 500};
  EXPECT_EQ(all(joined), expected);
  // Every range, against the plain row.
  for (std::int64_t first = 0; first <= joined.size(); ++first) {
    for (std::int64_t count = 0; first + count <= joined.size(); ++count) {
      const std::vector<std::int64_t> part(expected.begin() + first, expected.begin() + first + count);
      std::vector<std::int64_t> read(static_cast<std::size_t>(count));
      joined.read(first, count, read.data());
      EXPECT_EQ(read, part);
      EXPECT_EQ(all(joined.slice(first, count)), part);
    }
  }
}

TEST(TokenSource, FindsTheLargest) {
  EXPECT_EQ(TokenSource().largest(), std::nullopt);
  EXPECT_EQ(TokenSource::from_ids({0}).largest(), 0);
  EXPECT_EQ(TokenSource::from_ids({5, 9}).then(TokenSource::from_ids({7})).largest(), 9);
}

TEST(TokenSource, FindsTheFirstTokenBeyondALimitAndItsPlaceInTheFile) {
  const TemporaryFolder folder;
  // Longer than one block of the scan, with strays in the second.
  std::vector<std::uint16_t> tokens((1 << 22) + 1000, 9);
  tokens[(1 << 22) + 600] = 70;
  tokens[(1 << 22) + 500] = 50;
  const std::string path = folder.write_tokens("a.bin", tokens);
  const TokenSource source = file_source(path, TokenType::kUint16);
  EXPECT_FALSE(source.first_at_least(71).has_value());
  const auto stray = TokenSource::from_ids({1, 2}).then(source.slice(100, source.size() - 100)).first_at_least(50);
  ASSERT_TRUE(stray.has_value());
  EXPECT_EQ(stray->file, path);
  EXPECT_EQ(stray->position, (1 << 22) + 500);
  EXPECT_EQ(stray->id, 50);
}

TEST(TokenSource, ATypeThatCannotHoldTheLimitIsNotScanned) {
  const TemporaryFolder folder;
  const TokenSource bytes = file_source(folder.write("a", "\xFF"), TokenType::kUint8);
  EXPECT_FALSE(bytes.first_at_least(256).has_value());
  EXPECT_TRUE(bytes.first_at_least(255).has_value());
}

TEST(MappedFile, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  EXPECT_EQ(MappedFile::open(folder.write("a", "")).value()->text(), "");
  EXPECT_EQ(all(file_source(folder.at("a"), TokenType::kUint16)).size(), 0U);
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
