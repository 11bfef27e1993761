#include "data/token_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/open_file.h"
#include "data/temporary_folder.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;

std::vector<std::int64_t> all(const TokenSource& source) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(source.size()));
  EXPECT_TRUE(source.read(0, source.size(), ids.data()).ok());
  return ids;
}

TokenSource file_source(const std::string& path, TokenType type) {
  return TokenSource::from_file(OpenFile::open(path).value(), type);
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
      ASSERT_TRUE(joined.read(first, count, read.data()).ok());
      EXPECT_EQ(read, part);
      EXPECT_EQ(all(joined.slice(first, count)), part);
    }
  }
}

TEST(TokenSource, FindsTheLargest) {
  EXPECT_EQ(TokenSource().largest().value(), std::nullopt);
  EXPECT_EQ(TokenSource::from_ids({0}).largest().value(), 0);
  EXPECT_EQ(TokenSource::from_ids({5, 9}).then(TokenSource::from_ids({7})).largest().value(), 9);
}

TEST(TokenSource, FindsTheFirstTokenBeyondALimitAndItsPlaceInTheFile) {
  const TemporaryFolder folder;
  // Longer than one block of the scan, with strays in the second.
  std::vector<std::uint16_t> tokens((1 << 22) + 1000, 9);
  tokens[(1 << 22) + 600] = 70;
  tokens[(1 << 22) + 500] = 50;
  const std::string path = folder.write_tokens("a.bin", tokens);
  const TokenSource source = file_source(path, TokenType::kUint16);
  EXPECT_FALSE(source.first_at_least(71).value().has_value());
  const auto stray =
      TokenSource::from_ids({1, 2}).then(source.slice(100, source.size() - 100)).first_at_least(50).value();
  ASSERT_TRUE(stray.has_value());
  EXPECT_EQ(stray->file, path);
  EXPECT_EQ(stray->position, (1 << 22) + 500);
  EXPECT_EQ(stray->id, 50);
}

TEST(TokenSource, ATypeThatCannotHoldTheLimitIsNotScanned) {
  const TemporaryFolder folder;
  const TokenSource bytes = file_source(folder.write("a", "\xFF"), TokenType::kUint8);
  EXPECT_FALSE(bytes.first_at_least(256).value().has_value());
  EXPECT_TRUE(bytes.first_at_least(255).value().has_value());
  // Nor is it beside another that can.
  const TokenSource joined = bytes.then(TokenSource::from_ids({0, 300}));
  std::filesystem::resize_file(folder.at("a"), 0);
  EXPECT_EQ(joined.first_at_least(256).value()->id, 300);
  EXPECT_FALSE(joined.first_at_least(255).ok());
}

TEST(TokenSource, AFileCutShortMeanwhileIsAnErrorOfWhateverReads) {
  const TemporaryFolder folder;
  const std::string path = folder.write_tokens("a.bin", std::vector<std::uint16_t>(100'000, 5));
  const TokenSource source = file_source(path, TokenType::kUint16);
  std::filesystem::resize_file(path, 120'000);
  std::vector<std::int64_t> ids(60'001);
  EXPECT_TRUE(source.read(0, 60'000, ids.data()).ok());
  const Status beyond = source.read(0, 60'001, ids.data());
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ(beyond.error().code, ErrorCode::kWorld);
  EXPECT_EQ(beyond.error().what,
            path + " was cut short while it was in use: it had 200,000 bytes and ends at 120,000 now");
  EXPECT_FALSE(source.largest().ok());
  EXPECT_FALSE(source.first_at_least(6).ok());
}

}  // namespace
}  // namespace vramwise
