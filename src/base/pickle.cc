// A pickle is a program for a small stack machine (Lib/pickletools.py of Python 3.11 documents every opcode). Only the
// opcodes that build plain values are carried out here; the first of another kind ends the reading with an error.
#include "base/pickle.h"

#include <fmt/format.h>

#include <bit>
#include <optional>

namespace vramwise {
namespace {

using Index = PlainData::Index;
constexpr std::size_t kDeepest = 200;

class Machine {
 public:
  explicit Machine(std::string_view bytes) : rest_(bytes) {}

  Result<PlainData> run() {
    while (!stopped_) {
      const std::optional<std::uint64_t> opcode = number(1);
      if (!opcode) return failure("it is cut off");
      if (!step(static_cast<unsigned char>(*opcode)))
        return failure(fmt::format("opcode 0x{:02x} is not plain data, or its data are cut off", *opcode));
    }
    if (stack_.empty()) return failure("it holds nothing");
    data_.set_root(stack_.back());
    if (data_.is_cyclic_or_deeper_than(kDeepest)) return failure("a list or dict in it holds itself, or is too deep");
    return std::move(data_);
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

  bool push(Index value) {
    stack_.push_back(value);
    return true;
  }

  bool push_integer(std::size_t width) {
    const auto value = number(width);
    if (!value) return false;
    // Only the four-byte form is signed.
    return push(data_.add_integer(width == 4 ? std::int64_t{static_cast<std::int32_t>(*value)}
                                             : static_cast<std::int64_t>(*value)));
  }

  bool push_long() {
    const auto width = number(1);
    if (!width || *width > 9) return false;
    if (*width == 0) return push(data_.add_integer(0));
    if (*width == 9) return push_unsigned_long();
    const auto value = number(*width);
    if (!value) return false;
    const int unused_bits = 64 - 8 * static_cast<int>(*width);
    return push(data_.add_integer(static_cast<std::int64_t>(*value << unused_bits) >> unused_bits));
  }

  /// 2^63 to 2^64 - 1 take nine bytes. PyTorch writes "no limit" so; here it is the largest number that there is.
  bool push_unsigned_long() {
    const auto value = number(8);
    const auto sign = number(1);
    if (!value || !sign || *sign != 0) return false;
    return push(data_.add_integer(static_cast<std::int64_t>(~std::uint64_t{0} >> 1)));
  }

  bool push_double() {
    if (rest_.size() < 8) return false;
    std::uint64_t bits = 0;  // the one big-endian field
    for (std::size_t i = 0; i < 8; ++i) bits = bits << 8 | static_cast<unsigned char>(rest_[i]);
    rest_.remove_prefix(8);
    return push(data_.add_real(std::bit_cast<double>(bits)));
  }

  bool push_text(std::size_t length_width, PlainKind kind = PlainKind::kText) {
    const auto length = number(length_width);
    if (!length || *length > rest_.size() || *length > ~std::uint32_t{0}) return false;
    const std::string_view text = rest_.substr(0, *length);
    rest_.remove_prefix(*length);
    return push(data_.add_text(text, kind));
  }

  bool keep(std::optional<std::uint64_t> key) {
    // Writers count upwards from 0; a key far beyond what they could have reached is damage.
    if (!key || stack_.empty() || *key > memo_.size() + kLargestGap) return false;
    if (*key >= memo_.size()) memo_.resize(*key + 1, PlainData::kNothing);
    memo_[*key] = stack_.back();
    return true;
  }

  bool fetch(std::optional<std::uint64_t> key) {
    if (!key || *key >= memo_.size() || memo_[*key] == PlainData::kNothing) return false;
    return push(memo_[*key]);
  }

  /// How many values were pushed since the last mark, which goes.
  std::optional<std::size_t> marked() {
    if (marks_.empty() || marks_.back() > stack_.size()) return std::nullopt;
    const std::size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }

  /// Moves the `count` values on top into `container`.
  bool fill(Index container, std::size_t count) {
    for (std::size_t i = stack_.size() - count; i < stack_.size(); ++i) data_.append(container, stack_[i]);
    stack_.resize(stack_.size() - count);
    return true;
  }

  bool push_list(std::optional<std::size_t> count) {
    if (!count || *count > stack_.size()) return false;
    const Index list = data_.add_list();
    return fill(list, *count) && push(list);
  }

  bool extend_list(std::optional<std::size_t> count) {
    if (!count || *count >= stack_.size()) return false;
    const Index list = stack_[stack_.size() - *count - 1];
    return data_.is_list(list) && fill(list, *count);
  }

  bool extend_dict(std::optional<std::size_t> count) {
    if (!count || *count >= stack_.size() || *count % 2 != 0) return false;
    const Index dict = stack_[stack_.size() - *count - 1];
    return data_.is_dict(dict) && fill(dict, *count);
  }

  // clang-format off
  bool step(unsigned char opcode) {
    switch (opcode) {
      case 0x80: return number(1).has_value();                  // PROTO
      case 0x95: return number(8).has_value();                  // FRAME
      case '.': stopped_ = true; return true;                   // STOP
      case '(': marks_.push_back(stack_.size()); return true;   // MARK
      case 'N': return push(data_.add_none());                  // NONE
      case 0x88: return push(data_.add_bool(true));             // NEWTRUE
      case 0x89: return push(data_.add_bool(false));            // NEWFALSE
      case 'K': return push_integer(1);                         // BININT1
      case 'M': return push_integer(2);                         // BININT2
      case 'J': return push_integer(4);                         // BININT
      case 0x8a: return push_long();                            // LONG1
      case 'G': return push_double();                           // BINFLOAT
      case 0x8c: return push_text(1);                           // SHORT_BINUNICODE
      case 'X': return push_text(4);                            // BINUNICODE
      case 0x8d: return push_text(8);                           // BINUNICODE8
      case 'C': return push_text(1, PlainKind::kBytes);         // SHORT_BINBYTES
      case 'B': return push_text(4, PlainKind::kBytes);         // BINBYTES
      case 0x8e: return push_text(8, PlainKind::kBytes);        // BINBYTES8
      case '}': return push(data_.add_dict());                  // EMPTY_DICT
      case 's': return extend_dict(2);                          // SETITEM
      case 'u': return extend_dict(marked());                   // SETITEMS
      case ']': case ')': return push_list(0);                  // EMPTY_LIST, EMPTY_TUPLE
      case 'a': return extend_list(1);                          // APPEND
      case 'e': return extend_list(marked());                   // APPENDS
      case 't': return push_list(marked());                     // TUPLE
      case 0x85: return push_list(1);                           // TUPLE1
      case 0x86: return push_list(2);                           // TUPLE2
      case 0x87: return push_list(3);                           // TUPLE3
      case 0x94: return keep(memo_.size());                     // MEMOIZE
      case 'q': return keep(number(1));                         // BINPUT
      case 'r': return keep(number(4));                         // LONG_BINPUT
      case 'h': return fetch(number(1));                        // BINGET
      case 'j': return fetch(number(4));                        // LONG_BINGET
      default: return false;
    }
  }
  // clang-format on

  static constexpr std::uint64_t kLargestGap = 1 << 16;

  std::string_view rest_;
  PlainData data_;
  std::vector<Index> stack_;
  std::vector<std::size_t> marks_;  ///< heights of the stack
  std::vector<Index> memo_;
  bool stopped_ = false;
};

}  // namespace

Result<PlainData> parse_pickle(std::string_view bytes) { return Machine(bytes).run(); }

}  // namespace vramwise
