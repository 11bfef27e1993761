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

/// Of a layout, what large blocks are found by; `takes_end_last`: of what is free at the end of an expandable segment,
/// mapped or not, only where it begins.
std::vector<CachingAllocator::Place> large_places(const std::vector<CachingAllocator::Place>& layout,
                                                  bool takes_end_last) {
  std::vector<CachingAllocator::Place> places;
  for (const CachingAllocator::Place& place : layout) {
    if (place.is_small) continue;
    if (takes_end_last && !place.mapped) {
      const bool follows_free =
          !places.empty() && !places.back().allocated && places.back().address + places.back().size == place.address;
      const std::int64_t begin = follows_free ? places.back().address : place.address;
      if (follows_free) places.pop_back();
      places.push_back({.address = begin, .stream = place.stream});
    } else {
      places.push_back(place);
    }
  }
  return places;
}

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
  if (states_.empty() || states_.front().left != state.left || !allocator_.keeps_pools_apart()) return false;
  const bool leaves_small_ones = std::ranges::all_of(
      state.left, [this](std::size_t offset) { return allocator_.is_small(events_[cycle_.first + offset].bytes); });
  const bool takes_end_last = allocator_.takes_end_last();
  return leaves_small_ones &&
         large_places(states_.front().layout, takes_end_last) == large_places(state.layout, takes_end_last);
}

AllocationId CycleWatch::name_for_next_turn(AllocationId id) const {
  if (!cycle_.unwritten) return id;
  const auto place = std::ranges::find(cycle_.unwritten->left, id);
  if (place == cycle_.unwritten->left.end()) return id;
  return cycle_.unwritten->freed[static_cast<std::size_t>(place - cycle_.unwritten->left.begin())];
}

std::vector<AllocationId> CycleWatch::names_for_next_turn(std::vector<AllocationId> ids) const {
  for (AllocationId& id : ids) id = name_for_next_turn(id);
  std::ranges::sort(ids);
  return ids;
}

void CycleWatch::note_beginning() {
  if (!cycle_.unwritten || cycle_.times == 0) return;
  exchange_ = exchange_of(0);
  if (!exchange_ || exchange_->freed != exchange_->to_free) return;
  std::vector<std::int64_t> addresses;
  for (const std::size_t offset : exchange_->left)
    addresses.push_back(replayer_.address_of(name_for_next_turn(events_[cycle_.first + offset].id)));
  if (std::optional<State> state = state_with(std::move(addresses))) states_.push_front(std::move(*state));
}

std::optional<CycleWatch::Exchange> CycleWatch::exchange_of(std::size_t turn) {
  if (turn > 0 && cycle_.unwritten) return exchange_;
  Exchange exchange;
  std::size_t left = 0;
  const auto stretch = events_.subspan(cycle_.begin_of(turn), cycle_.length());
  for (std::size_t i = 0; i < stretch.size(); ++i) {
    const AllocationEvent& event = stretch[i];
    if (event.kind == EventKind::kMark) continue;
    if (event.kind != EventKind::kAllocate && event.kind != EventKind::kFree) return std::nullopt;
    if (event.id >= births_.size()) births_.resize(2 * (std::size_t{event.id} + 1));
    std::size_t& birth = births_[event.id];
    if (event.kind == EventKind::kAllocate) {
      birth = i + 1;
      ++left;
    } else if (birth > 0) {
      birth = 0;
      --left;
    } else {
      exchange.freed.push_back(event.id);
    }
  }
  for (std::size_t i = 0; i < stretch.size() && exchange.left.size() < left; ++i)
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
  const bool is_known = cycle_.unwritten && exchange_;
  std::optional<Exchange> exchange = is_known ? exchange_ : exchange_of(turn);
  const bool frees_what_was_left = turn == 0 || (exchange && exchange_ && exchange->freed == exchange_->to_free);
  exchange_ = std::move(exchange);
  if (!exchange_ || !frees_what_was_left) return std::nullopt;
  std::vector<std::int64_t> addresses;
  for (const std::size_t offset : exchange_->left)
    addresses.push_back(replayer_.address_of(events_[cycle_.begin_of(turn) + offset].id));
  return state_with(std::move(addresses));
}

std::optional<CycleWatch::State> CycleWatch::state_with(std::vector<std::int64_t> addresses) const {
  State state{.layout = {},
              .reserved_bytes = allocator_.stats().reserved_bytes.current,
              .retries = allocator_.stats().num_alloc_retries,
              .left = exchange_->left,
              .addresses = std::move(addresses)};
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
