// Tokenizer: text to token ids and back. Bytes, SentencePiece, the characters of a nanoGPT meta.pkl, or none (ids
// only).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

/// Safe to use from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::int64_t vocab_size() const = 0;
  /// For people: "bytes", "SentencePiece model x.model (32,000 tokens)".
  virtual std::string description() const = 0;
  /// The token(s) that stand between two documents; may be empty.
  virtual std::vector<std::int64_t> separator() const = 0;
  /// False where ids have no text: encode yields nothing then, and decode prints the ids.
  virtual bool knows_text() const { return true; }
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  /// Text to show on a terminal: always valid UTF-8, with U+FFFD for what is none and for control characters.
  virtual std::string decode(const std::vector<std::int64_t>& ids) const = 0;
};

/// 256 tokens, one a byte. The separator is byte 0; decode shows it as an empty line.
std::shared_ptr<const Tokenizer> make_byte_tokenizer();

/// Errors: unreadable, or not a SentencePiece model.
Result<std::shared_ptr<const Tokenizer>> load_sentence_piece(const std::string& path);

/// One token a character, as nanoGPT's character-level data sets: characters[id] is its text. Unknown characters are
/// left out by encode.
std::shared_ptr<const Tokenizer> make_character_tokenizer(std::vector<std::string> characters);

/// For token files whose vocabulary is not at hand: "17 4 2901".
std::shared_ptr<const Tokenizer> make_id_printer(std::int64_t vocab_size);

/// `text` with every byte that is not valid UTF-8, and every control character but tab and newline, as U+FFFD.
std::string displayable(std::string_view text);

}  // namespace vramwise
