#include "synth/word_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace vramwise {
namespace {

using ::testing::HasSubstr;

WordSource source_of(const WordSourceOptions& options) { return WordSource::create(options).value(); }

struct Sample {
  std::string text;
  double nats = 0;
  double words = 0;
};

Sample draw(const WordSource& source, std::uint64_t seed, std::size_t bytes) {
  WordStream stream(source, seed);
  Sample sample;
  while (sample.text.size() < bytes) {
    sample.nats += stream.append_word(sample.text);
    ++sample.words;
  }
  return sample;
}

/// The loss of a model that counts contexts of `order` bytes in one text and is asked about another, in nats a byte.
/// Each prediction leans on the next shorter context with weight 1, down to the uniform distribution.
double count_model_loss(const std::string& train, const std::string& test, std::size_t order) {
  std::vector<std::map<std::string, std::map<char, double>>> counts(order + 1);
  for (std::size_t i = order; i < train.size(); ++i)
    for (std::size_t k = 0; k <= order; ++k) counts[k][train.substr(i - k, k)][train[i]] += 1;
  double nats = 0;
  for (std::size_t i = order; i < test.size(); ++i) {
    double probability = 1.0 / 256;
    for (std::size_t k = 0; k <= order; ++k) {
      const auto context = counts[k].find(test.substr(i - k, k));
      if (context == counts[k].end()) break;
      double total = 0;
      for (const auto& [next, count] : context->second) total += count;
      const auto found = context->second.find(test[i]);
      probability = ((found == context->second.end() ? 0.0 : found->second) + probability) / (total + 1);
    }
    nats -= std::log(probability);
  }
  return nats / static_cast<double>(test.size() - order);
}

TEST(WordSource, TheEntropyIsWhatTheSourceLosesOnItsOwnText) {
  for (const WordSourceOptions& options :
       {WordSourceOptions{}, WordSourceOptions{.seed = 2, .words = 8, .successors = 2},
        WordSourceOptions{.seed = 3, .words = 1000, .successors = 40}}) {
    const WordSource source = source_of(options);
    const Sample sample = draw(source, 99, 4'000'000);
    const double length = static_cast<double>(sample.text.size());
    // Some 800,000 words whose cost has a deviation of about 1 nat: the mean is known to about 0.0002 nats a byte.
    EXPECT_NEAR(sample.nats / length, source.nats_per_byte(), 0.0015);
    EXPECT_NEAR(length / sample.words, source.bytes_per_word(), 0.01);
  }
}

TEST(WordSource, TextFallsApartIntoItsWordsAgain) {
  const WordSource source = source_of({});
  const Sample sample = draw(source, 7, 300'000);
  const std::optional<double> nats = source.nats_of(sample.text);
  ASSERT_TRUE(nats.has_value());
  EXPECT_NEAR(*nats, sample.nats, 1e-6 * sample.nats);
}

TEST(WordSource, OtherTextIsNotItsOwn) {
  const WordSource source = source_of({});
  const std::string text = draw(source, 7, 2000).text;
  EXPECT_FALSE(source.nats_of("the quick brown fox ").has_value());
  EXPECT_FALSE(source.nats_of(text.substr(1)).has_value()) << "the first word is cut";
  EXPECT_FALSE(source.nats_of(text.substr(0, text.size() - 1)).has_value()) << "the last ending is cut";
  const WordSource other = source_of({.seed = 4});
  EXPECT_FALSE(other.nats_of(text).has_value());
}

TEST(WordSource, CountingModelsStayAboveTheFloorAndComeNearerWithContext) {
  const WordSource source = source_of({});
  const std::string train = draw(source, 1, 400'000).text;
  const std::string test = draw(source, 2, 40'000).text;
  const double floor = source.nats_per_byte();
  double before = std::log(256.0);
  for (const std::size_t order : {0U, 1U, 2U, 7U}) {
    const double loss = count_model_loss(train, test, order);
    EXPECT_GT(loss, floor) << "order " << order;
    EXPECT_LT(loss, before) << "order " << order;
    before = loss;
  }
  EXPECT_LT(before, 1.15 * floor) << "with 7 bytes of context nearly everything is known";
  EXPECT_GT(count_model_loss(train, test, 1), 1.8 * floor) << "without context much is missing";
}

TEST(WordSource, SeedsDecideLanguageAndText) {
  EXPECT_EQ(source_of({}).lexicon(), source_of({}).lexicon());
  EXPECT_NE(source_of({.seed = 1}).lexicon(), source_of({.seed = 2}).lexicon());
  const WordSource source = source_of({});
  EXPECT_EQ(draw(source, 5, 10'000).text, draw(source, 5, 10'000).text);
  EXPECT_NE(draw(source, 5, 10'000).text, draw(source, 6, 10'000).text);
}

TEST(WordSource, TheTextIsTheSameOnEveryMachine) {
  // Golden: a change here changes every corpus that somebody may have written down a loss for.
  EXPECT_EQ(draw(source_of({}), 1337, 60).text, "Lu pop nenot pub ri, fopet ku, baz fetu. Da fetu lez re nenot. ");
}

TEST(WordSource, EveryWordOccurs) {
  const WordSource source = source_of({});
  const std::string text = draw(source, 1, 1'000'000).text;
  std::set<std::string> seen;
  std::string word;
  for (const char c : text) {
    if (c >= 'a' && c <= 'z') {
      word += c;
    } else if (c >= 'A' && c <= 'Z') {
      word += static_cast<char>(c - 'A' + 'a');
    } else if (!word.empty()) {
      seen.insert(std::exchange(word, ""));
    }
  }
  EXPECT_EQ(seen, std::set<std::string>(source.lexicon().begin(), source.lexicon().end()));
}

TEST(WordSource, OptionsOutOfRangeAreErrors) {
  EXPECT_THAT(WordSource::create({.words = 7}).error().what, HasSubstr("7 words"));
  EXPECT_FALSE(WordSource::create({.words = 5000}).ok());
  EXPECT_EQ(WordSource::create({.words = 10, .successors = 10}).error().remedy, "Take 2 to 9.");
  EXPECT_EQ(WordSource::create({.successors = 1}).error().code, ErrorCode::kUsage);
  EXPECT_TRUE(WordSource::create({.words = 8, .successors = 7}).ok());
  EXPECT_TRUE(WordSource::create({.words = 4096}).ok());
}

}  // namespace
}  // namespace vramwise
