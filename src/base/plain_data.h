// PlainData: what a file says, whatever its format: numbers, text, lists and dicts. Pickles and JSON are read into it.
//
// The values of one file lie in one array. A list or dict may stand in several places (a pickle says so), but none
// holds itself; whoever walks through all places must expect that one is met again and again.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vramwise {

enum class PlainKind : std::uint8_t { kNone, kBool, kInteger, kReal, kText, kBytes, kList, kDict };

class PlainValue;

class PlainData {
 public:
  using Index = std::uint32_t;
  static constexpr Index kNothing = ~Index{0};

  // To build one; a value may be added to a container until the file is read.
  Index add_none() { return add({.kind = PlainKind::kNone, .payload = {}}); }
  Index add_bool(bool value) { return add({.kind = PlainKind::kBool, .payload = {.integer = value ? 1 : 0}}); }
  Index add_integer(std::int64_t value) { return add({.kind = PlainKind::kInteger, .payload = {.integer = value}}); }
  Index add_real(double value) { return add({.kind = PlainKind::kReal, .payload = {.real = value}}); }
  /// `text` must outlive this; keep() is for one that does not. Below 4 GiB.
  Index add_text(std::string_view text, PlainKind kind = PlainKind::kText);
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  Index add_list();
  Index add_dict();
  /// For a dict: its key, then its value.
  void append(Index container, Index item) { children_[nodes_[container].payload.container].push_back(item); }
  bool is_list(Index index) const { return nodes_[index].kind == PlainKind::kList; }
  bool is_dict(Index index) const { return nodes_[index].kind == PlainKind::kDict; }
  bool is_container(Index index) const { return is_list(index) || is_dict(index); }
  void set_root(Index index) { root_ = index; }
  /// Whether some container holds itself, or they lie deeper in each other than `most`.
  bool is_cyclic_or_deeper_than(std::size_t most) const;

  std::size_t size() const { return nodes_.size(); }
  PlainValue root() const;

 private:
  friend class PlainValue;
  struct Node {
    PlainKind kind = PlainKind::kNone;
    std::uint32_t length = 0;  ///< of a text
    union {
      std::int64_t integer = 0;
      double real;
      const char* text;
      std::size_t container;
    } payload;
  };
  Index add(const Node& node) {
    nodes_.push_back(node);
    return static_cast<Index>(nodes_.size() - 1);
  }
  Index add_container(PlainKind kind);

  std::vector<Node> nodes_;
  std::vector<std::vector<Index>> children_;
  std::deque<std::string> texts_;
  Index root_ = kNothing;
};

/// A place in PlainData, which must stay where it is. What is not of the kind that is asked for is nullopt.
class PlainValue {
 public:
  PlainValue(const PlainData& data, PlainData::Index index) : data_(&data), index_(index) {}

  PlainKind kind() const { return node().kind; }
  /// The same for all places where the same list or dict stands.
  PlainData::Index index() const { return index_; }

  std::optional<bool> boolean() const;
  std::optional<std::int64_t> integer() const;
  std::optional<double> number() const;  ///< also of an integer
  std::optional<std::string_view> text() const;

  bool is_list() const { return kind() == PlainKind::kList; }
  bool is_dict() const { return kind() == PlainKind::kDict; }
  /// Items of a list, entries of a dict; 0 for anything else.
  std::size_t size() const;
  PlainValue item(std::size_t i) const { return {*data_, children()[i]}; }
  PlainValue key(std::size_t i) const { return {*data_, children()[2 * i]}; }
  PlainValue value(std::size_t i) const { return {*data_, children()[2 * i + 1]}; }
  /// Of a dict. A key that stands there twice has its last value, as in Python.
  std::optional<PlainValue> find(std::string_view wanted) const;

  // Of a dict: the value of `key`, if it is there and of that kind.
  std::optional<std::int64_t> integer_of(std::string_view key) const;
  std::optional<std::string_view> text_of(std::string_view key) const;
  std::optional<bool> boolean_of(std::string_view key) const;

 private:
  const PlainData::Node& node() const { return data_->nodes_[index_]; }
  const std::vector<PlainData::Index>& children() const { return data_->children_[node().payload.container]; }

  const PlainData* data_;
  PlainData::Index index_;
};

inline PlainValue PlainData::root() const { return {*this, root_}; }

}  // namespace vramwise
