#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/temporary_folder.h"
#include "data/trained_model.h"

namespace vramwise {
namespace {

using std::string_literals::operator""s;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::int64_t> all(const TokenSource& source) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(source.size()));
  EXPECT_TRUE(source.read(0, source.size(), ids.data()).ok());
  return ids;
}

Dataset open(const DataOptions& options) {
  auto dataset = open_dataset(options);
  EXPECT_TRUE(dataset.ok()) << dataset.error().what;
  return std::move(dataset).value();
}

Error error_of(const DataOptions& options) {
  const auto dataset = open_dataset(options);
  EXPECT_FALSE(dataset.ok());
  return dataset.ok() ? Error{} : dataset.error();
}

std::vector<std::uint16_t> counting(std::size_t count, std::uint16_t vocab_size) {
  std::vector<std::uint16_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::uint16_t>((i * 7 + i / 3) % vocab_size);
  return tokens;
}

TEST(Dataset, TextIsBytesAndItsEndIsHeldOut) {
  const TemporaryFolder folder;
  folder.write("train.txt", std::string(900, 'a') + std::string(100, 'b'));
  const Dataset data = open({.data_dir = folder.path(), .min_val_tokens = 100});
  EXPECT_EQ(data.vocab_size, 256);
  EXPECT_EQ(all(data.train), std::vector<std::int64_t>(900, 'a'));
  EXPECT_EQ(all(data.val), std::vector<std::int64_t>(100, 'b'));
  EXPECT_EQ(data.tokenizer->decode({'o', 'k'}), "ok");
  EXPECT_EQ(data.description, "train.txt in " + folder.path() +
                                  ": bytes; 900 for training, 100 for validation (the end, held out); vocabulary 256");
  EXPECT_THAT(data.warnings, IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder.at(".vramwise"))) << "bytes need no cache";
}

TEST(Dataset, HoldsOutFivePercentAtLeastSoManyAtMostHalf) {
  const TemporaryFolder folder;
  folder.write("train.txt", std::string(100'000, 'a'));
  const auto held = [&](std::int64_t minimum) {
    return open({.data_dir = folder.path(), .min_val_tokens = minimum}).val.size();
  };
  EXPECT_EQ(held(100), 5000);
  EXPECT_EQ(held(7000), 7000);
  EXPECT_EQ(held(70'000), 50'000);
}

TEST(Dataset, SeveralTextsAreSeparatedDocuments) {
  const TemporaryFolder folder;
  folder.write("a.txt", "one");
  folder.write("b.txt", "");
  folder.write("c.txt", "two");
  folder.write("val.txt", "v");
  const Dataset data = open({.data_dir = folder.path()});
  EXPECT_THAT(all(data.train), ElementsAre('o', 'n', 'e', 0, 0, 't', 'w', 'o'));
  EXPECT_THAT(all(data.val), ElementsAre('v'));
}

TEST(Dataset, TokenFilesWithoutMetaTakeTheirVocabularyFromTheLargestToken) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint16_t>("train.bin", {1, 2, 3, 500});
  folder.write_tokens<std::uint16_t>("val.bin", {50256, 7});
  const Dataset data = open({.data_dir = folder.path()});
  EXPECT_THAT(all(data.train), ElementsAre(1, 2, 3, 500));
  EXPECT_THAT(all(data.val), ElementsAre(50256, 7));
  EXPECT_EQ(data.vocab_size, 50304) << "what nanoGPT pads GPT-2's 50,257 to";
  EXPECT_EQ(data.tokenizer->decode({7, 50256}), "7 50256");
  EXPECT_THAT(data.description, HasSubstr("uint16 tokens; 4 for training, 2 for validation; vocabulary 50,304 (the "
                                          "largest token, 50,256, rounded up to a multiple of 64)"));
}

TEST(Dataset, MetaJsonGivesTypeAndVocabulary) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint32_t>("train.bin", {1, 128'000, 3, 4});
  folder.write("meta.json", "{\"dtype\": \"uint32\", \"vocab_size\": 128256, \"tokenizer\": \"other\"}");
  const Dataset data = open({.data_dir = folder.path()});
  EXPECT_EQ(data.vocab_size, 128'256);
  EXPECT_THAT(all(data.train), ElementsAre(1, 128'000));
  EXPECT_THAT(data.description, HasSubstr("uint32 tokens"));
}

TEST(Dataset, AnOptionGoesBeforeMetaJson) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint16_t>("train.bin", {1, 2, 3, 4});
  folder.write("meta.json", "{\"dtype\": \"uint32\"}");
  const Dataset data = open({.data_dir = folder.path(), .token_type = TokenType::kUint16});
  EXPECT_EQ(data.train.size() + data.val.size(), 4);
}

TEST(Dataset, ABrokenMetaJsonIsAnErrorThatNamesTheKey) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint16_t>("train.bin", {1, 2, 3, 4});
  const auto failure = [&](const char* json) {
    folder.write("meta.json", json);
    return error_of({.data_dir = folder.path()}).what;
  };
  const std::string file = folder.at("meta.json") + ": ";
  EXPECT_EQ(failure("{"), file + "not valid JSON, line 1, column 2");
  EXPECT_EQ(failure("[]"), file + "not a JSON object");
  EXPECT_EQ(failure("{\"dtype\": \"int64\"}"), file + "dtype \"int64\" is not known");
  EXPECT_EQ(failure("{\"dtype\": 4}"), file + "key \"dtype\": a value of another type was expected");
  EXPECT_EQ(failure("{\"vocab_size\": -1}"), file + "vocab_size -1 is out of range");
  EXPECT_EQ(failure("{\"vocab_size\": \"many\"}"), file + "key \"vocab_size\": a whole number was expected");
}

TEST(Dataset, NanoGptsCharactersBecomeTheTokenizer) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint16_t>("train.bin", {0, 1, 0, 1});
  // pickle.dumps({'vocab_size': 2, 'itos': {0: 'x', 1: 'y'}}, protocol=2)
  folder.write("meta.pkl",
               "\x80\x02}q\x00(X\n\x00\x00\x00vocab_sizeq\x01K\x02X\x04\x00\x00\x00itosq\x02}q\x03"
               "(K\x00X\x01\x00\x00\x00xq\x04K\x01X\x01\x00\x00\x00yq\x05uu."s);
  const Dataset data = open({.data_dir = folder.path()});
  EXPECT_THAT(data.warnings, IsEmpty());
  EXPECT_EQ(data.vocab_size, 2);
  EXPECT_EQ(data.tokenizer->decode({0, 1, 1}), "xyy");
  EXPECT_THAT(data.description, HasSubstr("vocabulary 2 (meta.pkl)"));
}

TEST(Dataset, AMetaPickleThatIsNotUnderstoodIsOnlyAWarning) {
  const TemporaryFolder folder;
  folder.write_tokens<std::uint16_t>("train.bin", {0, 1, 70, 1});
  folder.write("meta.pkl", "cos\nsystem\n.");
  const Dataset data = open({.data_dir = folder.path()});
  EXPECT_EQ(data.vocab_size, 128);
  ASSERT_EQ(data.warnings.size(), 1U);
  EXPECT_THAT(data.warnings[0], HasSubstr("meta.pkl is left aside: not a pickle of plain data"));
}

TEST(Dataset, Uint32TokensReadAsUint16AreNoticed) {
  const TemporaryFolder folder;
  std::vector<std::uint32_t> tokens(1000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::uint32_t>(i * 7919 % 128'000);
  folder.write_tokens("train.bin", tokens);
  const Error error = error_of({.data_dir = folder.path()});
  EXPECT_THAT(error.what, HasSubstr("every second token is close to 0"));
  EXPECT_THAT(error.remedy, HasSubstr("{\"dtype\": \"uint32\"}"));
  folder.write("meta.json", "{\"dtype\": \"uint32\"}");
  EXPECT_TRUE(open_dataset({.data_dir = folder.path()}).ok());
}

TEST(Dataset, OrdinaryUint16TokensAreNotTakenForUint32) {
  const TemporaryFolder folder;
  for (const std::uint16_t vocab_size : {2, 8, 65, 50'257}) {
    folder.write_tokens("train.bin", counting(1000, vocab_size));
    EXPECT_TRUE(open_dataset({.data_dir = folder.path()}).ok()) << vocab_size;
  }
}

TEST(Dataset, ATokenFileOfABrokenSizeIsAnError) {
  const TemporaryFolder folder;
  folder.write("train.bin", std::string(1001, 'x'));
  const Error error = error_of({.data_dir = folder.path()});
  EXPECT_EQ(error.code, ErrorCode::kWorld);
  EXPECT_EQ(error.what, folder.at("train.bin") + ": its 1,001 bytes are no whole number of uint16 tokens");
  folder.write("train.bin", std::string(1002, 'x'));
  EXPECT_THAT(error_of({.data_dir = folder.path(), .token_type = TokenType::kUint32}).what,
              HasSubstr("no whole number of uint32 tokens"));
}

TEST(Dataset, EmptyFilesAreErrors) {
  const TemporaryFolder folder;
  folder.write("train.txt", "");
  EXPECT_EQ(error_of({.data_dir = folder.path()}).what, folder.at("train.txt") + ": the file is empty");
  folder.write("train.txt", "something");
  folder.write("val.txt", "");
  EXPECT_EQ(error_of({.data_dir = folder.path()}).what, folder.at("val.txt") + ": the file is empty");
  folder.write("train.bin", "");
  EXPECT_EQ(error_of({.data_dir = folder.path()}).what, folder.at("train.bin") + ": the file is empty");
}

TEST(Dataset, AnUnreadableFileIsAnError) {
  const TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder.write("train.txt", "x"), std::filesystem::perms::none);
  const WithoutPrivileges nobody;
  if (!nobody.works()) GTEST_SKIP() << "root here cannot become another user";
  EXPECT_EQ(error_of({.data_dir = folder.path()}).what,
            "cannot read " + folder.at("train.txt") + ": Permission denied");
}

TEST(Dataset, JsonLinesAreEncodedIntoTheDataFolder) {
  const TemporaryFolder folder;
  folder.write("train.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
  folder.write("val.jsonl", "{\"text\": \"v\"}\n");
  const DataOptions options{.data_dir = folder.path(), .other_cache_dir = folder.at("out/tokens")};
  const Dataset data = open(options);
  EXPECT_THAT(all(data.train), ElementsAre('o', 'n', 'e', 0, 't', 'w', 'o', 0));
  EXPECT_THAT(all(data.val), ElementsAre('v', 0));
  EXPECT_TRUE(std::filesystem::exists(folder.at(".vramwise")));
  EXPECT_FALSE(std::filesystem::exists(folder.at("out/tokens")));
  // Opened again, both are still there.
  EXPECT_EQ(all(open(options).train), all(data.train));
}

// A text in a folder that others may read and nobody may write, and a folder that all may write.
class ReadOnlyData : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("train.jsonl", "{\"text\": \"one\"}\n");
    std::filesystem::permissions(elsewhere_.path(), std::filesystem::perms::all);
  }
  void TearDown() override {
    for (const std::string& path : {folder_.path(), folder_.at(".vramwise")}) {
      if (std::filesystem::exists(path)) std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    }
  }

  static void make_read_only(const std::string& path) {
    using std::filesystem::perms;
    std::filesystem::permissions(path, perms::all & ~(perms::owner_write | perms::group_write | perms::others_write));
  }

  TemporaryFolder folder_;
  TemporaryFolder elsewhere_;
  DataOptions options_{.data_dir = folder_.path(), .other_cache_dir = elsewhere_.at("out/tokens"), .min_val_tokens = 1};
};

TEST_F(ReadOnlyData, IsEncodedElsewhere) {
  make_read_only(folder_.path());
  const WithoutPrivileges nobody;
  if (!nobody.works()) GTEST_SKIP() << "root here cannot become another user";
  EXPECT_THAT(all(open(options_).train), ElementsAre('o', 'n', 'e'));
  EXPECT_TRUE(std::filesystem::exists(options_.other_cache_dir));
  EXPECT_EQ(error_of({.data_dir = folder_.path()}).what,
            "cannot make folder " + folder_.at(".vramwise") + ": Permission denied");
}

TEST_F(ReadOnlyData, WhatSomebodyElseEncodedThereIsUsed) {
  open(options_);
  make_read_only(folder_.at(".vramwise"));
  make_read_only(folder_.path());
  const WithoutPrivileges nobody;
  if (!nobody.works()) GTEST_SKIP() << "root here cannot become another user";
  EXPECT_THAT(all(open(options_).train), ElementsAre('o', 'n', 'e'));
  EXPECT_FALSE(std::filesystem::exists(options_.other_cache_dir));
}

TEST(Dataset, SentencePieceSetsTheVocabulary) {
  const TemporaryFolder folder;
  const TemporaryFolder models;
  const std::string model = train_model(models, 400);
  folder.write("train.txt", "the river runs to the garden\n");
  const Dataset text = open({.data_dir = folder.path(), .tokenizer = model});
  EXPECT_EQ(text.vocab_size, 400);
  EXPECT_THAT(text.tokenizer->decode(all(text.train)), HasSubstr("the river"));
  EXPECT_TRUE(std::filesystem::exists(folder.at(".vramwise"))) << "the cache, where no other folder is named";

  folder.write_tokens<std::uint16_t>("train.bin", {5, 6, 399, 5});
  const Dataset tokens = open({.data_dir = folder.path(), .tokenizer = model});
  EXPECT_EQ(tokens.vocab_size, 400);
  EXPECT_THAT(tokens.description, HasSubstr("vocabulary 400 (SentencePiece model"));
}

TEST(Dataset, Utf16IsWarnedOf) {
  const TemporaryFolder folder;
  folder.write("train.txt", std::string("\xFF\xFE"
                                        "a\0b\0",
                                        6));
  const Dataset data = open({.data_dir = folder.path()});
  ASSERT_EQ(data.warnings.size(), 1U);
  EXPECT_THAT(data.warnings[0], HasSubstr("looks like UTF-16"));
}

TEST(Validate, AcceptsOneTokenMoreThanASequence) {
  const Dataset data{.train = TokenSource::from_ids({1, 2, 3, 4, 5}), .val = TokenSource::from_ids({1, 2, 3, 4, 5})};
  EXPECT_TRUE(validate_for_training(data, 4, 6).ok());
}

TEST(Validate, NamesThePartThatIsTooShort) {
  const TokenSource five = TokenSource::from_ids({1, 2, 3, 4, 5});
  const TokenSource three = TokenSource::from_ids({1, 2, 3});
  const Status train = validate_for_training({.train = three, .val = five}, 4, 6);
  ASSERT_FALSE(train.ok());
  EXPECT_EQ(train.error().code, ErrorCode::kWorld);
  EXPECT_EQ(train.error().what, "the training data are too short: 3 tokens, and a sequence of 4 takes 5");
  EXPECT_EQ(train.error().remedy, "Use more data, or --seq_len 2 at most.");
  EXPECT_THAT(validate_for_training({.train = five, .val = three}, 4, 6).error().what,
              HasSubstr("the validation data are too short"));
}

TEST(Validate, NamesFileAndPositionOfATokenBeyondTheVocabulary) {
  const TemporaryFolder folder;
  std::vector<std::uint16_t> tokens = counting(1000, 50);
  tokens[970] = 50;
  folder.write_tokens("train.bin", tokens);
  folder.write("meta.json", "{\"vocab_size\": 50}");
  const Dataset data = open({.data_dir = folder.path(), .min_val_tokens = 100});
  const Status status = validate_for_training(data, 16, data.vocab_size);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kWorld);
  EXPECT_EQ(status.error().what, folder.at("train.bin") + ": token 50 at position 970 is beyond the vocabulary of 50");
  EXPECT_TRUE(validate_for_training(data, 16, 51).ok());
}

TEST(Validate, KnowsTheLargestTokenThatOpeningFound) {
  const TemporaryFolder folder;
  folder.write_tokens("train.bin", counting(1000, 50));
  const Dataset data = open({.data_dir = folder.path()});
  ASSERT_EQ(data.largest_token, 49);
  EXPECT_TRUE(validate_for_training(data, 16, 50).ok());
  EXPECT_FALSE(validate_for_training(data, 16, 49).ok());
}

}  // namespace
}  // namespace vramwise
