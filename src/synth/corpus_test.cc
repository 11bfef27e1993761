#include "synth/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "io/files.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CorpusTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "vramwise-synth-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { EXPECT_TRUE(remove_path(folder_).ok()); }

  std::string at(const std::string& name) const { return join_path(folder_, name); }
  std::string read(const std::string& name) const { return read_file(at(name)).value(); }
  SynthOptions options(const std::string& name, std::uint64_t seed = 1337) const {
    return {.out_dir = at(name), .size = Bytes::kib(200), .source = {.seed = seed}};
  }

  std::string folder_;
};

TEST_F(CorpusTest, WritesTextsOfTheSourceAndWhatIsKnownOfThem) {
  const auto report = write_synthetic_corpus(options("a"));
  ASSERT_TRUE(report.ok()) << report.error().what;
  EXPECT_THAT(list_folder(at("a")).value(), ElementsAre("synth.json", "train.txt", "val.txt"));
  const std::string train = read("a/train.txt");
  const std::string val = read("a/val.txt");
  EXPECT_NEAR(static_cast<double>(train.size()), 200 * 1024, 20);
  EXPECT_NEAR(static_cast<double>(val.size()), 64 * 1024, 20);
  const WordSource source = WordSource::create({}).value();
  const auto mean = [&](const std::string& text) {
    return source.nats_of(text).value() / static_cast<double>(text.size());
  };
  EXPECT_NEAR(report->train_nats_per_token, mean(train), 1e-9);
  EXPECT_NEAR(report->val_nats_per_token, mean(val), 1e-9);
  EXPECT_NEAR(report->val_nats_per_token, report->floor_nats_per_token, 0.03 * report->floor_nats_per_token);
  EXPECT_THAT(report->warnings, IsEmpty());

  const Json json = parse_json(read("a/synth.json"), "synth.json").value();
  EXPECT_EQ(json_get<std::int64_t>(json, "seed").value(), 1337);
  EXPECT_EQ(json_get<std::int64_t>(json, "train_bytes").value(), static_cast<std::int64_t>(train.size()));
  EXPECT_EQ(json_get<std::int64_t>(json, "bytes").value(), static_cast<std::int64_t>(train.size() + val.size()));
  EXPECT_EQ(json_get<double>(json, "floor_nats_per_token").value(), source.nats_per_byte());
  EXPECT_NEAR(json_get<double>(json, "floor_bits_per_byte").value(), source.nats_per_byte() / std::log(2.0), 1e-12);
}

TEST_F(CorpusTest, TheSameSeedGivesTheSameBytesAndAnotherOthers) {
  ASSERT_TRUE(write_synthetic_corpus(options("a")).ok());
  ASSERT_TRUE(write_synthetic_corpus(options("b")).ok());
  ASSERT_TRUE(write_synthetic_corpus(options("c", 1338)).ok());
  for (const char* name : {"train.txt", "val.txt", "synth.json"}) {
    EXPECT_EQ(read(join_path("a", name)), read(join_path("b", name))) << name;
    EXPECT_NE(read(join_path("a", name)), read(join_path("c", name))) << name;
  }
}

TEST_F(CorpusTest, ValidationIsNoPartOfTraining) {
  ASSERT_TRUE(write_synthetic_corpus(options("a")).ok());
  const std::string val = read("a/val.txt");
  EXPECT_EQ(read("a/train.txt").find(val.substr(1000, 100)), std::string::npos);
}

TEST_F(CorpusTest, AnEarlierCorpusIsReplaced) {
  ASSERT_TRUE(write_synthetic_corpus(options("a", 1)).ok());
  const std::string before = read("a/train.txt");
  ASSERT_TRUE(write_synthetic_corpus(options("a", 2)).ok());
  EXPECT_NE(read("a/train.txt"), before);
  EXPECT_THAT(list_folder(at("a")).value(), ElementsAre("synth.json", "train.txt", "val.txt"));
}

TEST_F(CorpusTest, AFolderWithOtherThingsIsLeftAloneUnlessForced) {
  ASSERT_TRUE(make_folders(at("a")).ok());
  // A train.txt without our synth.json is somebody's own.
  ASSERT_TRUE(write_file_atomically(at("a/train.txt"), "my novel").ok());
  const auto refused = write_synthetic_corpus(options("a"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_EQ(refused.error().what, at("a") + " already holds something else: train.txt");
  EXPECT_THAT(refused.error().remedy, HasSubstr("--force"));
  EXPECT_EQ(read("a/train.txt"), "my novel");
  EXPECT_THAT(list_folder(at("a")).value(), ElementsAre("train.txt"));

  SynthOptions forced = options("a");
  forced.force = true;
  EXPECT_TRUE(write_synthetic_corpus(forced).ok());
  EXPECT_NE(read("a/train.txt"), "my novel");
}

TEST_F(CorpusTest, TokenFilesThatWouldBeTakenInsteadAreWarnedOf) {
  ASSERT_TRUE(make_folders(at("a")).ok());
  ASSERT_TRUE(write_file_atomically(at("a/train.bin"), "xx").ok());
  SynthOptions forced = options("a");
  forced.force = true;
  const auto report = write_synthetic_corpus(forced);
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->warnings.size(), 1U);
  EXPECT_THAT(report->warnings[0], HasSubstr("train.bin"));
}

TEST_F(CorpusTest, WhatCannotBeWrittenIsAnErrorAndLeavesNothing) {
  ASSERT_TRUE(write_file_atomically(at("file"), "x").ok());
  EXPECT_EQ(write_synthetic_corpus(options("file/a")).error().code, ErrorCode::kWorld);
  SynthOptions small = options("a");
  small.size = Bytes(100);
  EXPECT_THAT(write_synthetic_corpus(small).error().what, HasSubstr("too small"));
  SynthOptions odd = options("a");
  odd.source.words = 3;
  EXPECT_EQ(write_synthetic_corpus(odd).error().code, ErrorCode::kUsage);
  EXPECT_THAT(list_folder(folder_).value(), ElementsAre("file"));
}

TEST_F(CorpusTest, ReadsWellForPeople) {
  const auto report = write_synthetic_corpus(options("a"));
  const std::string text = describe(*report);
  EXPECT_THAT(text, HasSubstr("train.txt (200.0 KiB)"));
  EXPECT_THAT(text, HasSubstr("48 words, each followed by 6 others"));
  EXPECT_THAT(text, HasSubstr("nats a byte"));
}

}  // namespace
}  // namespace vramwise
