// The language and its entropy. Random numbers come from mt19937_64, whose output the C++ standard fixes; the
// standard's distributions differ between libraries, so drawing is done here.
#include "synth/word_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

namespace vramwise {
namespace {

struct Ending {
  std::string_view text;
  bool ends_sentence;
};

// None is the beginning of another, and none begins with a letter: so text falls apart into words in one way only.
constexpr std::array<Ending, 4> kEndings = {{{" ", false}, {", ", false}, {". ", true}, {".\n", true}}};
// How often each stands behind a word that can end a sentence.
constexpr std::array<double, 4> kEndingShares = {0.74, 0.08, 0.14, 0.04};
// Two words of five can't, as "the" can't.
constexpr double kNeverEnds = 0.4;
// One word of six may begin a sentence.
constexpr std::size_t kWordsAStarter = 6;

std::uint64_t below(std::mt19937_64& random, std::uint64_t bound) {
  // Numbers beyond the last multiple of `bound` would favour small results.
  const std::uint64_t limit = std::numeric_limits<std::uint64_t>::max() / bound * bound;
  std::uint64_t number = random();
  while (number >= limit) number = random();
  return number % bound;
}

double unit(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

void shuffle(std::vector<std::size_t>& items, std::mt19937_64& random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(random, i)]);
}

std::string draw_word(std::mt19937_64& random) {
  constexpr std::string_view kConsonants = "bdfgklmnprstvz";
  constexpr std::string_view kVowels = "aeiou";
  constexpr std::array<std::string_view, 6> kPatterns = {"cv", "cvc", "cvc", "cvcv", "cvcv", "cvcvc"};
  std::string word;
  for (const char kind : kPatterns[below(random, kPatterns.size())]) {
    const std::string_view letters = kind == 'c' ? kConsonants : kVowels;
    word += letters[below(random, letters.size())];
  }
  return word;
}

char capital(char letter) { return static_cast<char>(letter - 'a' + 'A'); }

}  // namespace

Result<WordSource> WordSource::create(const WordSourceOptions& options) {
  if (options.words < 8 || options.words > 4096)
    return usage_error(fmt::format("a lexicon of {} words cannot be made", options.words), "Take 8 to 4096 words.");
  if (options.successors < 2 || options.successors >= options.words)
    return usage_error(
        fmt::format("{} successors a word cannot be had from {} words", options.successors, options.words),
        fmt::format("Take 2 to {}.", options.words - 1));
  WordSource source;
  source.options_ = options;
  std::mt19937_64 random(options.seed);
  source.draw_lexicon(random);
  source.draw_chain(random);
  source.compute_rates();
  return source;
}

void WordSource::draw_lexicon(std::mt19937_64& random) {
  std::set<std::string> known;
  while (static_cast<std::int64_t>(lexicon_.size()) < options_.words) {
    std::string word = draw_word(random);
    if (known.insert(word).second) lexicon_.push_back(std::move(word));
  }
}

void WordSource::draw_chain(std::mt19937_64& random) {
  // Probabilities as 1, 1/2, 1/3, …: the ranks of words in real text follow about that law.
  const auto ranked = [](const std::vector<std::size_t>& order, std::size_t count) {
    double sum = 0;
    for (std::size_t rank = 0; rank < count; ++rank) sum += 1.0 / static_cast<double>(rank + 1);
    std::vector<Choice> choices;
    for (std::size_t rank = 0; rank < count; ++rank)
      choices.push_back({order[rank], 1.0 / static_cast<double>(rank + 1) / sum});
    return choices;
  };
  std::vector<std::size_t> order(lexicon_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  shuffle(order, random);
  const std::vector<std::size_t> ring = order;
  starters_ = ranked(order, std::max<std::size_t>(2, lexicon_.size() / kWordsAStarter));

  followers_.resize(lexicon_.size());
  endings_.resize(lexicon_.size());
  for (std::size_t i = 0; i < ring.size(); ++i) {
    // The next word of the ring is always among the followers, so every word can be reached from every other. No word
    // follows itself.
    const std::size_t next = ring[(i + 1) % ring.size()];
    shuffle(order, random);
    std::iter_swap(std::find(order.begin(), order.end(), ring[i]), std::prev(order.end()));
    const auto count = static_cast<std::size_t>(options_.successors);
    if (std::find(order.begin(), order.begin() + options_.successors, next) == order.begin() + options_.successors)
      std::swap(order[below(random, count)], *std::find(order.begin(), order.end(), next));
    followers_[ring[i]] = ranked(order, count);
    if (unit(random) < kNeverEnds) {
      endings_[ring[i]] = {{0, 1.0}};
    } else {
      for (std::size_t ending = 0; ending < kEndings.size(); ++ending)
        endings_[ring[i]].push_back({ending, kEndingShares[ending]});
    }
  }
}

std::vector<double> WordSource::stationary() const {
  // Power iteration. The share of sentence ends, after which the past is forgotten, makes it converge fast.
  std::vector<double> share(lexicon_.size(), 1.0 / static_cast<double>(lexicon_.size()));
  double change = 1;
  for (int round = 0; round < 100'000 && change > 1e-15; ++round) {
    std::vector<double> next(share.size(), 0.0);
    for (std::size_t word = 0; word < share.size(); ++word) {
      for (const Choice& ending : endings_[word]) {
        const double flow = share[word] * ending.probability;
        for (const Choice& choice : kEndings[ending.index].ends_sentence ? starters_ : followers_[word])
          next[choice.index] += flow * choice.probability;
      }
    }
    change = 0;
    for (std::size_t word = 0; word < share.size(); ++word) change += std::fabs(next[word] - share[word]);
    share = std::move(next);
  }
  return share;
}

void WordSource::compute_rates() {
  const auto entropy = [](const std::vector<Choice>& choices) {
    double nats = 0;
    for (const Choice& choice : choices) nats -= choice.probability * std::log(choice.probability);
    return nats;
  };
  const std::vector<double> share = stationary();
  for (std::size_t word = 0; word < share.size(); ++word) {
    double nats = entropy(endings_[word]);
    double bytes = static_cast<double>(lexicon_[word].size());
    for (const Choice& ending : endings_[word]) {
      const Ending& kind = kEndings[ending.index];
      nats += ending.probability * entropy(kind.ends_sentence ? starters_ : followers_[word]);
      bytes += ending.probability * static_cast<double>(kind.text.size());
    }
    nats_per_word_ += share[word] * nats;
    bytes_per_word_ += share[word] * bytes;
  }
}

std::optional<double> WordSource::nats_of(std::string_view text) const {
  double nats = 0;
  const std::vector<Choice>* allowed = &starters_;
  while (!text.empty()) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto length = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_letter) - text.begin());
    const std::string_view word = text.substr(0, length);
    const auto spelt_so = [&](const Choice& choice) {
      std::string spelling = lexicon_[choice.index];
      if (allowed == &starters_) spelling[0] = capital(spelling[0]);
      return spelling == word;
    };
    const auto choice = std::find_if(allowed->begin(), allowed->end(), spelt_so);
    if (choice == allowed->end()) return std::nullopt;
    text.remove_prefix(length);
    const auto stands_here = [&](const Choice& ending) { return text.starts_with(kEndings[ending.index].text); };
    const std::vector<Choice>& endings = endings_[choice->index];
    const auto ending = std::find_if(endings.begin(), endings.end(), stands_here);
    if (ending == endings.end()) return std::nullopt;
    text.remove_prefix(kEndings[ending->index].text.size());
    nats -= std::log(choice->probability) + std::log(ending->probability);
    allowed = kEndings[ending->index].ends_sentence ? &starters_ : &followers_[choice->index];
  }
  return nats;
}

const WordSource::Choice& WordStream::draw(const std::vector<WordSource::Choice>& choices) {
  double left = unit(random_);
  for (const WordSource::Choice& choice : choices) {
    left -= choice.probability;
    if (left < 0) return choice;
  }
  return choices.back();  // the probabilities' sum may fall short of 1 by a rounding error
}

double WordStream::append_word(std::string& text) {
  const WordSource::Choice& word = draw(previous_ ? source_.followers_[*previous_] : source_.starters_);
  const std::size_t first = text.size();
  text += source_.lexicon_[word.index];
  if (!previous_) text[first] = capital(text[first]);
  const WordSource::Choice& ending = draw(source_.endings_[word.index]);
  text += kEndings[ending.index].text;
  previous_ = kEndings[ending.index].ends_sentence ? std::nullopt : std::optional<std::size_t>(word.index);
  return -std::log(word.probability) - std::log(ending.probability);
}

}  // namespace vramwise
