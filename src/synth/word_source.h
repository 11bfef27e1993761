// A made-up language whose entropy is known: sentences of pronounceable pseudo-words, drawn from a Markov chain over
// words. No model can predict its text better than nats_per_byte() on average, and one that learns comes close, so
// learning can be seen and checked.
//
// The chain: each word has a few words that may follow it, some likelier than others. Behind a word stands a space, a
// comma, a full stop, or a full stop and a line's end; some words never end a sentence. Behind a full stop comes one of
// a few words that begin sentences, with a capital.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

struct WordSourceOptions {
  std::uint64_t seed = 1337;    ///< of the language: its words and what follows what
  std::int64_t words = 48;      ///< size of the lexicon, 8 to 4096
  std::int64_t successors = 6;  ///< words that may follow a word, 2 to `words` - 1
};

class WordSource {
 public:
  /// Errors (kUsage): an option out of range.
  static Result<WordSource> create(const WordSourceOptions& options);

  const std::vector<std::string>& lexicon() const { return lexicon_; }
  const WordSourceOptions& options() const { return options_; }

  /// The entropy rate, computed from the chain's stationary distribution. Per byte: that per word over the mean length
  /// of a word in bytes, since words and bytes determine each other.
  double nats_per_word() const { return nats_per_word_; }
  double bytes_per_word() const { return bytes_per_word_; }
  double nats_per_byte() const { return nats_per_word_ / bytes_per_word_; }

  /// What the source itself loses on a text of whole words that begins as a sentence does: the sum of -log(probability)
  /// over its words, in nats. nullopt: no such text can come from this source.
  std::optional<double> nats_of(std::string_view text) const;

 private:
  friend class WordStream;

  struct Choice {
    std::size_t index = 0;
    double probability = 0;
  };

  WordSource() = default;
  void draw_lexicon(std::mt19937_64& random);
  void draw_chain(std::mt19937_64& random);
  std::vector<double> stationary() const;
  void compute_rates();

  WordSourceOptions options_;
  std::vector<std::string> lexicon_;
  std::vector<std::vector<Choice>> followers_;  ///< of each word
  std::vector<std::vector<Choice>> endings_;    ///< of each word: what may stand behind it
  std::vector<Choice> starters_;                ///< words that begin a sentence
  double nats_per_word_ = 0;
  double bytes_per_word_ = 0;
};

/// Draws text from a source. The same source and seed give the same text on every machine.
class WordStream {
 public:
  /// Begins with a sentence. `source` must outlive the stream.
  WordStream(const WordSource& source, std::uint64_t seed) : source_(source), random_(seed) {}

  /// Appends one word and what stands behind it; returns -log of the probability of both, in nats.
  double append_word(std::string& text);

 private:
  const WordSource::Choice& draw(const std::vector<WordSource::Choice>& choices);

  const WordSource& source_;
  std::mt19937_64 random_;
  std::optional<std::size_t> previous_;  ///< nullopt: a sentence begins
};

}  // namespace vramwise
