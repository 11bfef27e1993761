#include "data/token_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "data/temporary_folder.h"
#include "data/trained_model.h"
#include "io/files.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<std::int64_t> all(const TokenSource& source) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(source.size()));
  EXPECT_TRUE(source.read(0, source.size(), ids.data()).ok());
  return ids;
}

class TokenCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    request_.cache_dir = folder_.at("cache/tokens");
    request_.files = {{folder_.write("a.jsonl", "{\"text\": \"ab\"}\n{\"text\": \"c\"}\n"), SourceKind::kJsonl}};
    request_.on_progress = [this](const EncodeProgress&) { ++progress_calls_; };
  }

  std::vector<std::string> entries() const {
    std::vector<std::string> names = list_folder(request_.cache_dir).value();
    std::erase(names, "lock");
    return names;
  }

  TemporaryFolder folder_;
  CacheRequest request_;
  std::shared_ptr<const Tokenizer> bytes_ = make_byte_tokenizer();
  int progress_calls_ = 0;
};

TEST_F(TokenCacheTest, DocumentsAreFollowedByTheSeparator) {
  EXPECT_THAT(all(encoded_tokens(request_, *bytes_).value()), ElementsAre('a', 'b', 0, 'c', 0));
}

TEST_F(TokenCacheTest, EncodesOnce) {
  ASSERT_TRUE(encoded_tokens(request_, *bytes_).ok());
  const int after_first = progress_calls_;
  EXPECT_GT(after_first, 0);
  EXPECT_THAT(all(encoded_tokens(request_, *bytes_).value()), ElementsAre('a', 'b', 0, 'c', 0));
  EXPECT_EQ(progress_calls_, after_first);
}

TEST_F(TokenCacheTest, ChangedTextIsEncodedAgainAndTheOldEntryGoes) {
  ASSERT_TRUE(encoded_tokens(request_, *bytes_).ok());
  folder_.write("a.jsonl", "{\"text\": \"xyz\"}\n");
  EXPECT_THAT(all(encoded_tokens(request_, *bytes_).value()), ElementsAre('x', 'y', 'z', 0));
  EXPECT_THAT(entries(), SizeIs(1));
}

TEST_F(TokenCacheTest, TheSameSizeAtAnotherTimeIsEncodedAgain) {
  ASSERT_TRUE(encoded_tokens(request_, *bytes_).ok());
  folder_.write("a.jsonl", "{\"text\": \"AB\"}\n{\"text\": \"C\"}\n");
  std::filesystem::last_write_time(folder_.at("a.jsonl"),
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  EXPECT_THAT(all(encoded_tokens(request_, *bytes_).value()), ElementsAre('A', 'B', 0, 'C', 0));
}

TEST_F(TokenCacheTest, AFailureLeavesNoEntry) {
  folder_.write("a.jsonl", "{\"text\": \"ab\"}\nbroken\n");
  const auto tokens = encoded_tokens(request_, *bytes_);
  ASSERT_FALSE(tokens.ok());
  EXPECT_EQ(tokens.error().what, folder_.at("a.jsonl") + ":2: not valid JSON");
  EXPECT_THAT(entries(), SizeIs(0));
}

TEST_F(TokenCacheTest, WhatAKilledProcessLeftIsClearedAway) {
  ASSERT_TRUE(make_folders(request_.cache_dir).ok());
  folder_.write("cache/tokens/tokens-1-2.bin.unfinished", "half");
  ASSERT_TRUE(encoded_tokens(request_, *bytes_).ok());
  EXPECT_THAT(entries(), SizeIs(1));
}

TEST_F(TokenCacheTest, ACacheFolderThatCannotBeMadeIsAnError) {
  request_.cache_dir = folder_.write("file", "") + "/cache";
  EXPECT_THAT(encoded_tokens(request_, *bytes_).error().what, HasSubstr("cannot make folder"));
}

TEST_F(TokenCacheTest, SeveralProcessesShareOneEncoding) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += "{\"text\": \"document " + std::to_string(i) + "\"}\n";
  folder_.write("a.jsonl", lines);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto tokens = encoded_tokens(request_, *bytes_);
      ::_exit(!tokens.ok() ? 9 : progress_calls_ > 0 ? 1 : 0);
    }
    children.push_back(child);
  }
  int encoders = 0;
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_LE(WEXITSTATUS(status), 1);
    encoders += WEXITSTATUS(status);
  }
  EXPECT_EQ(encoders, 1);
}

TEST_F(TokenCacheTest, BatchesAndProcessorsDoNotChangeTheOrder) {
  // Larger than a batch of 8 MiB, in documents larger and smaller than a chunk.
  std::string text;
  for (int i = 0; text.size() < (std::size_t{18} << 20); ++i) text += "line " + std::to_string(i) + "\n";
  request_.files = {{folder_.write("a.txt", text), SourceKind::kText},
                    {folder_.write("b.jsonl", "{\"text\": \"tail\"}\n"), SourceKind::kJsonl}};
  const TokenSource tokens = encoded_tokens(request_, *bytes_).value();
  std::string expected = text + '\0' + "tail" + '\0';
  ASSERT_EQ(tokens.size(), static_cast<std::int64_t>(expected.size()));
  const std::vector<std::int64_t> ids = all(tokens);
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), expected.begin(),
                         [](std::int64_t id, char c) { return id == static_cast<unsigned char>(c); }));
}

TEST_F(TokenCacheTest, SentencePieceTokensAreKeptInTheWidthOfTheirVocabulary) {
  request_.tokenizer_path = train_model(folder_, 400);
  const auto tokenizer = load_sentence_piece(request_.tokenizer_path).value();
  const std::string sentence = "the teacher paints the garden";
  request_.files = {{folder_.write("a.txt", sentence), SourceKind::kText}};
  const TokenSource tokens = encoded_tokens(request_, *tokenizer).value();
  std::vector<std::int64_t> expected = tokenizer->encode(sentence);
  expected.push_back(2);
  EXPECT_EQ(all(tokens), expected);
  EXPECT_EQ(std::filesystem::file_size(folder_.at("cache/tokens/" + entries().at(0))), 2 * expected.size());
  // Another tokenizer at the same path is another entry.
  const std::string other = train_model(folder_, 350);
  EXPECT_NE(all(encoded_tokens(request_, *load_sentence_piece(other).value()).value()), expected);
}

TEST(TokenTypeFor, TakesTheNarrowest) {
  EXPECT_EQ(token_type_for(256), TokenType::kUint8);
  EXPECT_EQ(token_type_for(257), TokenType::kUint16);
  EXPECT_EQ(token_type_for(65536), TokenType::kUint16);
  EXPECT_EQ(token_type_for(65537), TokenType::kUint32);
}

}  // namespace
}  // namespace vramwise
