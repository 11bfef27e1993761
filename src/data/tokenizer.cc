// The tokenizers that need no library: bytes, characters, and plain ids; and making any text fit to be shown.
#include "data/tokenizer.h"

#include <fmt/format.h>

#include <unordered_map>
#include <utility>

namespace vramwise {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// One character as it lies in UTF-8: its length, and whether it is well formed (The Unicode Standard 15, table 3-7).
/// Of an ill-formed one the length is that of its longest beginning that could have become a character.
struct Utf8Unit {
  std::size_t length = 1;
  bool valid = false;
};

Utf8Unit utf8_unit(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  // The second byte's range rules out overlong forms, surrogates, and what lies beyond U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true};
}

bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return (first < 0x20 && first != '\t' && first != '\n') || first == 0x7F;
  // U+0080 to U+009F; some terminals obey them.
  return character.size() == 2 && first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

class ByteTokenizer final : public Tokenizer {
 public:
  std::int64_t vocab_size() const override { return 256; }
  std::string description() const override { return "bytes"; }
  std::vector<std::int64_t> separator() const override { return {0}; }
  std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    ids.reserve(text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(const std::vector<std::int64_t>& ids) const override {
    std::string bytes;
    for (const std::int64_t id : ids) {
      if (id == 0) {
        bytes += "\n\n";
      } else {
        // A vocabulary may be larger than 256 for the sake of speed; such ids are never in the text.
        bytes += static_cast<char>(id > 0 && id < 256 ? id : 0xFF);
      }
    }
    return displayable(bytes);
  }
};

class CharacterTokenizer final : public Tokenizer {
 public:
  explicit CharacterTokenizer(std::vector<std::string> characters) : characters_(std::move(characters)) {
    for (std::size_t id = 0; id < characters_.size(); ++id) ids_.emplace(characters_[id], id);
  }
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(characters_.size()); }
  std::string description() const override { return fmt::format("{} characters", characters_.size()); }
  std::vector<std::int64_t> separator() const override { return {}; }
  std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    while (!text.empty()) {
      const std::size_t length = utf8_unit(text).length;
      const auto found = ids_.find(std::string(text.substr(0, length)));
      if (found != ids_.end()) ids.push_back(static_cast<std::int64_t>(found->second));
      text.remove_prefix(length);
    }
    return ids;
  }
  std::string decode(const std::vector<std::int64_t>& ids) const override {
    std::string text;
    for (const std::int64_t id : ids) {
      const bool known = id >= 0 && id < vocab_size();
      text += known ? std::string_view(characters_[static_cast<std::size_t>(id)]) : kReplacement;
    }
    return displayable(text);
  }

 private:
  std::vector<std::string> characters_;
  std::unordered_map<std::string, std::size_t> ids_;
};

class IdPrinter final : public Tokenizer {
 public:
  explicit IdPrinter(std::int64_t vocab_size) : vocab_size_(vocab_size) {}
  std::int64_t vocab_size() const override { return vocab_size_; }
  std::string description() const override { return "token ids"; }
  std::vector<std::int64_t> separator() const override { return {}; }
  bool knows_text() const override { return false; }
  std::vector<std::int64_t> encode(std::string_view) const override { return {}; }
  std::string decode(const std::vector<std::int64_t>& ids) const override {
    return fmt::format("{}", fmt::join(ids, " "));
  }

 private:
  std::int64_t vocab_size_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_byte_tokenizer() { return std::make_shared<ByteTokenizer>(); }

std::shared_ptr<const Tokenizer> make_character_tokenizer(std::vector<std::string> characters) {
  return std::make_shared<CharacterTokenizer>(std::move(characters));
}

std::shared_ptr<const Tokenizer> make_id_printer(std::int64_t vocab_size) {
  return std::make_shared<IdPrinter>(vocab_size);
}

std::string displayable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const Utf8Unit unit = utf8_unit(text);
    const std::string_view character = text.substr(0, unit.length);
    shown += unit.valid && !is_control(character) ? character : kReplacement;
    text.remove_prefix(unit.length);
  }
  return shown;
}

}  // namespace vramwise
