// The proof. When the stretch comes again, the pool of large blocks holds what it held before, for free neighbours are
// always one block, and the segments that the first time created, each free as a whole. Let all choices have been the
// same so far. Then those new segments which the first time had not created yet are what is free beyond the first time.
// A request that found a block of `given` bytes still finds it, unless one of them is smaller and large enough; of the
// same size it lies at a higher address. A request for which a segment was created finds that one, by the same rule.
#include "allocator/steady_state.h"

#include <algorithm>
#include <ranges>

namespace vramwise {

SteadyState::SteadyState(CachingAllocator& allocator, std::span<const AllocationEvent> stretch)
    : allocator_(allocator),
      stretch_(stretch),
      large_blocks_(allocator.large_blocks()),
      allocated_bytes_(allocator.stats().allocated_bytes.current),
      outer_(allocator.choice_log()) {
  allocator_.set_choice_log(&choices_);
}

SteadyState::~SteadyState() {
  if (outer_ != nullptr) outer_->insert(outer_->end(), choices_.begin(), choices_.end());
  allocator_.set_choice_log(outer_);
}

bool SteadyState::is_reached() const {
  return allocator_.takes_best_fit() && allocator_.stats().allocated_bytes.current == allocated_bytes_ &&
         returns_large_blocks() && would_choose_again();
}

// What came went, and as many are left as before: so those that were there before still are.
bool SteadyState::returns_large_blocks() const {
  std::vector<std::int8_t> is_new;
  std::int64_t alive = 0;
  for (const AllocationEvent& event : stretch_) {
    if (event.kind == EventKind::kMark) continue;
    if (event.kind != EventKind::kAllocate && event.kind != EventKind::kFree) return false;
    if (event.id >= is_new.size()) is_new.resize(2 * (std::size_t{event.id} + 1));
    // One that is freed has 0 bytes. Nobody could foresee which it is.
    const std::int8_t is_large = allocator_.is_small(event.bytes) ? 0 : 1;
    alive += is_large - is_new[event.id];
    is_new[event.id] = is_large;
  }
  return alive == 0 && allocator_.large_blocks() == large_blocks_;
}

bool SteadyState::would_choose_again() const {
  std::vector<std::int64_t> not_yet;  // sizes of new segments, in order
  for (const CachingAllocator::Choice& choice : choices_ | std::views::reverse) {
    const auto least = std::ranges::lower_bound(not_yet, choice.asked);
    if (least != not_yet.end() && *least < choice.given) return false;
    if (choice.is_new) not_yet.insert(std::ranges::lower_bound(not_yet, choice.given), choice.given);
  }
  return true;
}

}  // namespace vramwise
