// Totals are cut off at 2^61 bytes: an absurd request is then simply too large, not an overflow.
#include "estimate/timeline.h"

#include <algorithm>

#include "allocator/caching_allocator.h"

namespace vramwise {
namespace {
constexpr Bytes kMost(std::int64_t{1} << 61);
}  // namespace

Timeline::Block Timeline::take(Owner owner, Bytes bytes) {
  const std::int64_t granules = (bytes.count() + granule_ - 1) / granule_;
  const Bytes rounded = std::min(Bytes(granule_) * granules, kMost - live_);
  live_ += rounded;
  live_by_owner_[static_cast<std::size_t>(owner)] += rounded;
  if (live_ > peak_) {
    peak_ = live_;
    peak_phase_ = phase_;
    peak_by_owner_ = live_by_owner_;
  }
  if (allocator_ == nullptr || bytes <= Bytes()) return {this, owner, rounded, kNoBlock};
  const BlockIndex place = allocator_->allocate(bytes.count());
  if (Bytes(allocator_->stats().reserved_bytes.current) > most_reserved_) allocator_ = nullptr;
  return {this, owner, rounded, place};
}

void Timeline::give_back(const Block& block) {
  live_ -= block.bytes_;
  live_by_owner_[static_cast<std::size_t>(block.owner_)] -= block.bytes_;
  if (block.place_ != kNoBlock && allocator_ != nullptr) allocator_->free(block.place_);
}

}  // namespace vramwise
