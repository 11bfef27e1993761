// See cycle_watch.h.
#include "allocator/cycle_watch.h"

#include <algorithm>
#include <ranges>
#include <utility>

namespace vramwise {
namespace {

// A turn allocates before it frees what it replaces: n tensors of one size move through n + 1 places. A batch has up to
// three of one size.
constexpr std::size_t kLongestPeriod = 4;

}  // namespace

CycleWatch::Skip CycleWatch::after(std::size_t turn) {
  has_settled_large_blocks_ = has_settled_large_blocks_ || (turn_ && turn_->is_reached());
  turn_.reset();
  if (turn >= cycle_.times) return {};
  const Skip skip = skip_after(turn);
  if (skip.turns == 0 && !has_settled_large_blocks_) watch(turn + 1);
  return skip;
}

CycleWatch::Skip CycleWatch::skip_after(std::size_t turn) {
  std::optional<State> state = state_after(turn);
  if (!state) {
    states_.clear();
    return {};
  }
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (!(states_[i] == *state)) continue;
    const std::size_t period = i + 1;
    const std::size_t turns = (cycle_.times - turn) / period * period;
    states_.clear();
    if (turns > 0) rename(*state, turn, turns);
    return {.turns = turns, .period = period};
  }
  has_settled_large_blocks_ = has_settled_large_blocks_ || settles_large_blocks(*state);
  states_.push_front(std::move(*state));
  if (states_.size() > kLongestPeriod) states_.pop_back();
  return {};
}

bool CycleWatch::settles_large_blocks(const State& state) const {
  if (states_.empty() || states_.front().left != state.left) return false;
  const auto is_large = [](const CachingAllocator::Place& place) { return !place.is_small; };
  return std::ranges::all_of(
             state.left,
             [this](std::size_t offset) { return allocator_.is_small(events_[cycle_.first + offset].bytes); }) &&
         std::ranges::equal(states_.front().layout | std::views::filter(is_large),
                            state.layout | std::views::filter(is_large));
}

std::vector<AllocationId> CycleWatch::names_for_next_turn(std::vector<AllocationId> ids) const {
  for (AllocationId& id : ids) {
    if (!cycle_.unwritten) break;
    const auto place = std::ranges::find(cycle_.unwritten->left, id);
    if (place != cycle_.unwritten->left.end())
      id = cycle_.unwritten->freed[static_cast<std::size_t>(place - cycle_.unwritten->left.begin())];
  }
  std::ranges::sort(ids);
  return ids;
}

std::optional<CycleWatch::Exchange> CycleWatch::exchange_of(std::size_t turn) {
  if (turn > 0 && cycle_.unwritten) return exchange_;
  Exchange exchange;
  const auto stretch = events_.subspan(cycle_.begin_of(turn), cycle_.length());
  for (std::size_t i = 0; i < stretch.size(); ++i) {
    const AllocationEvent& event = stretch[i];
    if (event.kind == EventKind::kMark) continue;
    if (event.kind != EventKind::kAllocate && event.kind != EventKind::kFree) return std::nullopt;
    if (event.id >= births_.size()) births_.resize(2 * (std::size_t{event.id} + 1));
    std::size_t& birth = births_[event.id];
    if (event.kind == EventKind::kAllocate) {
      birth = i + 1;
    } else if (birth > 0) {
      birth = 0;
    } else {
      exchange.freed.push_back(event.id);
    }
  }
  for (std::size_t i = 0; i < stretch.size(); ++i)
    if (stretch[i].kind == EventKind::kAllocate && births_[stretch[i].id] == i + 1) exchange.left.push_back(i);
  for (const std::size_t offset : exchange.left) {
    exchange.to_free.push_back(stretch[offset].id);
    births_[exchange.to_free.back()] = 0;
  }
  std::ranges::sort(exchange.freed);
  exchange.to_free = names_for_next_turn(std::move(exchange.to_free));
  return exchange;
}

std::optional<CycleWatch::State> CycleWatch::state_after(std::size_t turn) {
  std::optional<Exchange> exchange = exchange_of(turn);
  const bool frees_what_was_left = turn == 0 || (exchange && exchange_ && exchange->freed == exchange_->to_free);
  exchange_ = std::move(exchange);
  if (!exchange_ || !frees_what_was_left) return std::nullopt;
  State state{.layout = {},
              .reserved_bytes = allocator_.stats().reserved_bytes.current,
              .retries = allocator_.stats().num_alloc_retries,
              .left = exchange_->left,
              .addresses = {}};
  for (const std::size_t offset : state.left)
    state.addresses.push_back(replayer_.address_of(events_[cycle_.begin_of(turn) + offset].id));
  if (!allocator_.tell_layout(state.layout)) return std::nullopt;
  return state;
}

void CycleWatch::rename(const State& state, std::size_t turn, std::size_t turns) {
  std::vector<AllocationId> from, to;
  for (const std::size_t offset : state.left) {
    from.push_back(events_[cycle_.begin_of(turn) + offset].id);
    to.push_back(events_[cycle_.begin_of(turn + turns) + offset].id);
  }
  replayer_.rename(from, to);
}

}  // namespace vramwise
