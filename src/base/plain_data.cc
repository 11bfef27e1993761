// One array of values, one array of containers. The walk that looks for cycles keeps its own stack: a hostile file may
// be deeper than the program's.
#include "base/plain_data.h"

#include "base/check.h"

namespace vramwise {

PlainData::Index PlainData::add_text(std::string_view text, PlainKind kind) {
  VRAMWISE_CHECK(text.size() <= ~std::uint32_t{0});
  const char* const begin = text.data();  // NOLINT(bugprone-suspicious-stringview-data-usage): its length goes with it
  return add({.kind = kind, .length = static_cast<std::uint32_t>(text.size()), .payload = {.text = begin}});
}

PlainData::Index PlainData::add_container(PlainKind kind) {
  children_.emplace_back();
  return add({.kind = kind, .payload = {.container = children_.size() - 1}});
}
PlainData::Index PlainData::add_list() { return add_container(PlainKind::kList); }
PlainData::Index PlainData::add_dict() { return add_container(PlainKind::kDict); }

bool PlainData::is_cyclic_or_deeper_than(std::size_t most) const {
  enum class State : std::uint8_t { kUnseen, kOpen, kDone };
  struct Step {
    Index node;
    std::size_t next_child;
  };
  if (root_ == kNothing || !is_container(root_)) return false;
  std::vector<State> states(children_.size(), State::kUnseen);
  std::vector<Step> path = {{.node = root_, .next_child = 0}};
  states[nodes_[root_].payload.container] = State::kOpen;
  while (!path.empty()) {
    Step& step = path.back();
    const std::size_t container = nodes_[step.node].payload.container;
    if (step.next_child == children_[container].size()) {
      states[container] = State::kDone;
      path.pop_back();
      continue;
    }
    const Index child = children_[container][step.next_child++];
    if (!is_container(child)) continue;
    State& state = states[nodes_[child].payload.container];
    // One that was seen before on another way may lie deeper on this one; it is deep only as often as it is shared.
    if (state == State::kDone) continue;
    if (state == State::kOpen || path.size() >= most) return true;
    state = State::kOpen;
    path.push_back({.node = child, .next_child = 0});
  }
  return false;
}

std::optional<bool> PlainValue::boolean() const {
  if (kind() != PlainKind::kBool) return std::nullopt;
  return node().payload.integer != 0;
}

std::optional<std::int64_t> PlainValue::integer() const {
  if (kind() != PlainKind::kInteger) return std::nullopt;
  return node().payload.integer;
}

std::optional<double> PlainValue::number() const {
  if (kind() == PlainKind::kReal) return node().payload.real;
  if (kind() == PlainKind::kInteger) return static_cast<double>(node().payload.integer);
  return std::nullopt;
}

std::optional<std::string_view> PlainValue::text() const {
  if (kind() != PlainKind::kText) return std::nullopt;
  return std::string_view(node().payload.text, node().length);
}

std::size_t PlainValue::size() const {
  if (is_list()) return children().size();
  if (is_dict()) return children().size() / 2;
  return 0;
}

std::optional<PlainValue> PlainValue::find(std::string_view wanted) const {
  if (!is_dict()) return std::nullopt;
  for (std::size_t i = size(); i-- > 0;)
    if (key(i).text() == wanted) return value(i);
  return std::nullopt;
}

std::optional<std::int64_t> PlainValue::integer_of(std::string_view key) const {
  const auto found = find(key);
  return found ? found->integer() : std::nullopt;
}
std::optional<std::string_view> PlainValue::text_of(std::string_view key) const {
  const auto found = find(key);
  return found ? found->text() : std::nullopt;
}
std::optional<bool> PlainValue::boolean_of(std::string_view key) const {
  const auto found = find(key);
  return found ? found->boolean() : std::nullopt;
}

}  // namespace vramwise
