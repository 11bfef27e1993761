// A pickle is a program for a small stack machine (Lib/pickletools.py of Python 3.11 documents every opcode). Only the
// opcodes that build plain values are carried out here; the first of another kind ends the reading with an error.
#include "data/pickle.h"

#include <fmt/format.h>

#include <bit>
#include <optional>
#include <unordered_map>

namespace vramwise {
namespace {

constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 24;

bool is_container(const PickleValue& value) {
  return std::holds_alternative<std::shared_ptr<PickleList>>(value.value) ||
         std::holds_alternative<std::shared_ptr<PickleDict>>(value.value);
}

class Machine {
 public:
  explicit Machine(std::string_view bytes) : rest_(bytes) {}

  Result<PickleValue> run() {
    while (!stopped_) {
      const std::optional<std::uint64_t> opcode = number(1);
      if (!opcode) return failure("it is cut off");
      if (!step(static_cast<unsigned char>(*opcode)))
        return failure(fmt::format("opcode 0x{:02x} is not plain data, or its data are cut off", *opcode));
    }
    if (stack_.empty()) return failure("it holds nothing");
    return stack_.back();
  }

 private:
  static Error failure(const std::string& reason) { return world_error("not a pickle of plain data: " + reason); }

  /// A little-endian number of `width` bytes.
  std::optional<std::uint64_t> number(std::size_t width) {
    if (rest_.size() < width) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value |= std::uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
    rest_.remove_prefix(width);
    return value;
  }

  /// `value` is one of the types that PickleValue holds.
  bool push(const PickleValue& value) {
    stack_.push_back(value);
    return true;
  }
  template <typename T>
  bool push(T value) {
    stack_.emplace_back().value = std::move(value);
    return true;
  }

  bool push_integer(std::size_t width) {
    const auto value = number(width);
    if (!value) return false;
    // Only the four-byte form is signed.
    return push(width == 4 ? std::int64_t{static_cast<std::int32_t>(*value)} : static_cast<std::int64_t>(*value));
  }

  bool push_long() {
    const auto width = number(1);
    if (!width || *width > 8) return false;
    const auto value = number(*width);
    if (!value) return false;
    const int unused_bits = 64 - 8 * static_cast<int>(*width);
    if (*width == 0) return push(std::int64_t{0});
    return push(static_cast<std::int64_t>(*value << unused_bits) >> unused_bits);
  }

  bool push_double() {
    if (rest_.size() < 8) return false;
    std::uint64_t bits = 0;  // the one big-endian field
    for (std::size_t i = 0; i < 8; ++i) bits = bits << 8 | static_cast<unsigned char>(rest_[i]);
    rest_.remove_prefix(8);
    return push(std::bit_cast<double>(bits));
  }

  bool push_text(std::size_t length_width) {
    const auto length = number(length_width);
    if (!length || *length > rest_.size()) return false;
    std::string text(rest_.substr(0, *length));
    rest_.remove_prefix(*length);
    return push(std::move(text));
  }

  bool keep(std::uint64_t key) {
    if (stack_.empty()) return false;
    memo_[key] = stack_.back();
    return true;
  }

  /// Texts are fetched again and again; a list or dict is not, for then it could come to hold itself.
  bool fetch(std::optional<std::uint64_t> key) {
    const auto found = key ? memo_.find(*key) : memo_.end();
    if (found == memo_.end() || is_container(found->second)) return false;
    stack_.push_back(found->second);
    return true;
  }

  /// Takes what was pushed since the last mark.
  std::optional<std::vector<PickleValue>> take_marked() {
    if (marks_.empty() || marks_.back() > stack_.size()) return std::nullopt;
    const std::size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return take(count);
  }

  std::optional<std::vector<PickleValue>> take(std::size_t count) {
    if (count > stack_.size()) return std::nullopt;
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<PickleValue> taken(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
    stack_.erase(first, stack_.end());
    return taken;
  }

  bool push_list(std::optional<std::vector<PickleValue>> items) {
    return items && push(std::make_shared<PickleList>(std::move(*items)));
  }

  bool extend_list(std::optional<std::vector<PickleValue>> items) {
    if (!items || stack_.empty()) return false;
    auto* list = std::get_if<std::shared_ptr<PickleList>>(&stack_.back().value);
    if (list == nullptr) return false;
    (*list)->insert((*list)->end(), items->begin(), items->end());
    return true;
  }

  bool extend_dict(std::optional<std::vector<PickleValue>> items) {
    if (!items || items->size() % 2 != 0 || stack_.empty()) return false;
    auto* dict = std::get_if<std::shared_ptr<PickleDict>>(&stack_.back().value);
    if (dict == nullptr) return false;
    for (std::size_t i = 0; i < items->size(); i += 2)
      (*dict)->emplace_back(std::move((*items)[i]), std::move((*items)[i + 1]));
    return true;
  }

  bool keep_as(std::optional<std::uint64_t> key) { return key && keep(*key); }

  // clang-format off
  bool step(unsigned char opcode) {
    switch (opcode) {
      case 0x80: return number(1).has_value();                  // PROTO
      case 0x95: return number(8).has_value();                  // FRAME
      case '.': stopped_ = true; return true;                   // STOP
      case '(': marks_.push_back(stack_.size()); return true;   // MARK
      case 'N': return push(std::monostate());                  // NONE
      case 0x88: return push(true);                             // NEWTRUE
      case 0x89: return push(false);                            // NEWFALSE
      case 'K': return push_integer(1);                         // BININT1
      case 'M': return push_integer(2);                         // BININT2
      case 'J': return push_integer(4);                         // BININT
      case 0x8a: return push_long();                            // LONG1
      case 'G': return push_double();                           // BINFLOAT
      case 0x8c: return push_text(1);                           // SHORT_BINUNICODE
      case 'X': return push_text(4);                            // BINUNICODE
      case 0x8d: return push_text(8);                           // BINUNICODE8
      case '}': return push(std::make_shared<PickleDict>());    // EMPTY_DICT
      case 's': return extend_dict(take(2));                    // SETITEM
      case 'u': return extend_dict(take_marked());              // SETITEMS
      case ']': case ')': return push_list(take(0));            // EMPTY_LIST, EMPTY_TUPLE
      case 'a': return extend_list(take(1));                    // APPEND
      case 'e': return extend_list(take_marked());              // APPENDS
      case 't': return push_list(take_marked());                // TUPLE
      case 0x85: return push_list(take(1));                     // TUPLE1
      case 0x86: return push_list(take(2));                     // TUPLE2
      case 0x87: return push_list(take(3));                     // TUPLE3
      case 0x94: return keep(memo_.size());                     // MEMOIZE
      case 'q': return keep_as(number(1));                      // BINPUT
      case 'r': return keep_as(number(4));                      // LONG_BINPUT
      case 'h': return fetch(number(1));                        // BINGET
      case 'j': return fetch(number(4));                        // LONG_BINGET
      default: return false;
    }
  }
  // clang-format on

  std::string_view rest_;
  std::vector<PickleValue> stack_;
  std::vector<std::size_t> marks_;  ///< heights of the stack
  std::unordered_map<std::uint64_t, PickleValue> memo_;
  bool stopped_ = false;
};

const PickleValue* find_key(const PickleDict& dict, std::string_view key) {
  for (const auto& [name, value] : dict)
    if (const auto* text = std::get_if<std::string>(&name.value); text != nullptr && *text == key) return &value;
  return nullptr;
}

/// itos, {id: text}, as a row; empty where it is not that, or does not name every id.
std::vector<std::string> characters_of(const PickleValue* itos, std::int64_t vocab_size) {
  const auto* dict = itos != nullptr ? std::get_if<std::shared_ptr<PickleDict>>(&itos->value) : nullptr;
  if (dict == nullptr || static_cast<std::int64_t>((*dict)->size()) != vocab_size) return {};
  std::vector<std::string> characters(static_cast<std::size_t>(vocab_size));
  for (const auto& [key, value] : **dict) {
    const auto* id = std::get_if<std::int64_t>(&key.value);
    const auto* text = std::get_if<std::string>(&value.value);
    if (id == nullptr || text == nullptr || *id < 0 || *id >= vocab_size) return {};
    characters[static_cast<std::size_t>(*id)] = *text;
  }
  return characters;
}

}  // namespace

Result<PickleValue> parse_pickle(std::string_view bytes) { return Machine(bytes).run(); }

Result<NanoGptMeta> parse_nanogpt_meta(std::string_view bytes) {
  VRAMWISE_ASSIGN_OR_RETURN(const PickleValue root, parse_pickle(bytes));
  const auto* dict = std::get_if<std::shared_ptr<PickleDict>>(&root.value);
  const PickleValue* size = dict != nullptr ? find_key(**dict, "vocab_size") : nullptr;
  const auto* vocab_size = size != nullptr ? std::get_if<std::int64_t>(&size->value) : nullptr;
  if (vocab_size == nullptr || *vocab_size <= 0 || *vocab_size > kMaxVocabulary)
    return world_error("no usable \"vocab_size\" in it");
  return NanoGptMeta{*vocab_size, characters_of(find_key(**dict, "itos"), *vocab_size)};
}

}  // namespace vramwise
