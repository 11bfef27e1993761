// Giving memory back to the driver: all that is cached (before the last try, or torch.cuda.empty_cache), the oversize
// blocks that make enough room, and what garbage collection finds old.
#include <algorithm>
#include <vector>

#include "allocator/caching_allocator.h"
#include "base/check.h"

namespace vramwise {

void CachingAllocator::empty_cache() { release_cached(); }

void CachingAllocator::release_cached() {
  ++stats_.num_sync_all_streams;
  complete_uses();
  while (!held_.empty()) free_done(held_.back().number);
  release_pool(large_);
  release_pool(small_);
}

void CachingAllocator::release_pool(Pool& pool) {
  std::vector<BlockIndex> whole;
  std::vector<BlockIndex> expandable;
  for (const auto& stream : pool.streams) {
    if (!stream) continue;
    const FreeList& list = stream->free;
    for (auto cursor = list.first(); cursor.valid(); cursor = list.next(cursor)) {
      const BlockIndex index = list.at(cursor).block;
      if (blocks_[index].is_expandable()) {
        expandable.push_back(index);
      } else if (!blocks_[index].is_split()) {
        whole.push_back(index);
      }
    }
  }
  for (const BlockIndex index : whole) give_back_segment(index);
  for (const BlockIndex index : expandable) {
    unmap(index);
    if (!blocks_[index].is_split()) give_back_expandable(index);
  }
}

void CachingAllocator::give_back_segment(BlockIndex index) {
  const Block block = blocks_[index];
  VRAMWISE_CHECK(!block.is_expandable() && !block.is_split());
  ++stats_.num_device_free;
  memory_.give_back(block.size);
  memory_.give_back_addresses(block.address, block.size);
  if (sink_ != nullptr) sink_->segment_changed(SegmentAction::kFree, block.address, block.size, block.stream);
  stats_.segment.decrease(1);
  stats_.reserved_bytes.decrease(block.size);
  if (block.size >= options_.max_split_bytes) stats_.oversize_segments.decrease(1);
  take_from_list(block);
  blocks_.remove(index);
}

void CachingAllocator::unmap(BlockIndex index) {
  const Block block = blocks_[index];
  const ExpandableSegment& segment = expandable_[block.expandable];
  // Only whole units inside the block can go.
  const std::int64_t offset = block.address - segment.address;
  const std::int64_t begin = segment.address + (offset + segment.unit - 1) / segment.unit * segment.unit;
  const std::int64_t end = segment.address + (offset + block.size) / segment.unit * segment.unit;
  if (begin >= end) return;
  take_from_list(block);
  if (begin > block.address) {
    Block before = block;
    before.size = begin - block.address;
    before.next = index;
    before.requested = 0;
    const BlockIndex before_index = blocks_.add(before);
    if (before.previous != kNoBlock) blocks_[before.previous].next = before_index;
    blocks_[index].previous = before_index;
    put_into_list(before_index);
  }
  if (end < block.address + block.size) {
    Block after = block;
    after.advance(end - block.address);
    after.previous = index;
    after.requested = 0;
    const BlockIndex after_index = blocks_.add(after);
    if (after.next != kNoBlock) blocks_[after.next].previous = after_index;
    blocks_[index].next = after_index;
    put_into_list(after_index);
  }
  blocks_[index].advance(begin - block.address);
  blocks_[index].size = end - begin;
  blocks_[index].mapped = false;
  merge_neighbours(index);
  insert_unmapped(index);
  memory_.give_back(end - begin);
  stats_.reserved_bytes.decrease(end - begin);
  ++stats_.num_device_free;
  if (sink_ != nullptr) sink_->segment_changed(SegmentAction::kUnmap, begin, end - begin, block.stream);
}

void CachingAllocator::give_back_expandable(BlockIndex index) {
  const Block block = blocks_[index];
  VRAMWISE_CHECK(!block.mapped && block.size == expandable_[block.expandable].size);
  memory_.give_back_addresses(block.address, block.size);
  erase_unmapped(block);
  unused_expandable_.push_back(block.expandable);
  blocks_.remove(index);
}

bool CachingAllocator::release_oversize(const Request& request) {
  if (options_.max_split_bytes == AllocatorOptions::kUnlimited) return false;
  FreeList& list = request.list.free;
  const std::int64_t wanted = std::max(request.size, options_.max_split_bytes);
  const FreeList::Cursor enough = list.lower_bound(wanted);
  if (enough.valid() && !blocks_[list.at(enough).block].is_expandable()) {
    give_back_segment(list.at(enough).block);
    return true;
  }
  // No single block is large enough: several, from the largest on.
  std::vector<BlockIndex> chosen;
  std::int64_t released = 0;
  FreeList::Cursor cursor = enough.valid() ? list.previous(enough) : list.last();
  for (; cursor.valid() && released < wanted && list.at(cursor).size >= options_.max_split_bytes;
       cursor = list.previous(cursor)) {
    if (blocks_[list.at(cursor).block].is_expandable()) continue;
    released += list.at(cursor).size;
    chosen.push_back(list.at(cursor).block);
  }
  for (const BlockIndex index : chosen) give_back_segment(index);
  return released >= wanted;
}

void CachingAllocator::collect_garbage() {
  const auto threshold =
      static_cast<std::int64_t>(options_.garbage_collection_threshold * static_cast<double>(allowed_));
  if (stats_.reserved_bytes.current <= threshold) return;
  const std::int64_t target = stats_.reserved_bytes.current - threshold;
  std::vector<BlockIndex> candidates;
  std::int64_t total_age = 0;
  const auto age_of = [&](BlockIndex index) { return std::int64_t{large_.searches - blocks_[index].freed_at}; };
  for (const auto& stream : large_.streams) {
    if (!stream) continue;
    const FreeList& list = stream->free;
    for (auto cursor = list.first(); cursor.valid(); cursor = list.next(cursor)) {
      if (blocks_[list.at(cursor).block].is_split()) continue;
      candidates.push_back(list.at(cursor).block);
      total_age += age_of(candidates.back());
    }
  }
  std::int64_t reclaimed = 0;
  bool any = true;
  while (reclaimed < target && any && !candidates.empty()) {
    // All that are older than the average go, even beyond the target: collecting is not to happen often.
    const double limit = static_cast<double>(total_age) / static_cast<double>(candidates.size());
    std::vector<BlockIndex> kept;
    any = false;
    for (const BlockIndex index : candidates) {
      if (blocks_[index].is_expandable() || static_cast<double>(age_of(index)) < limit) {
        kept.push_back(index);
        continue;
      }
      any = true;
      reclaimed += blocks_[index].size;
      total_age -= age_of(index);
      give_back_segment(index);
    }
    candidates = std::move(kept);
  }
}

}  // namespace vramwise
