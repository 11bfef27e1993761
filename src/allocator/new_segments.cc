// Where no cached block fits: a segment from cudaMalloc, or more pages mapped behind an expandable segment
// (alloc_block, try_allocate_expandable_block and map_block of PyTorch).
#include <algorithm>

#include "allocator/caching_allocator.h"
#include "base/check.h"

namespace vramwise {

BlockIndex CachingAllocator::allocate_segment(const Request& request, bool is_retry) {
  const std::int64_t segment = segment_bytes_for(options_, request.size);
  if (is_retry) ++stats_.num_alloc_retries;
  if (allowed_ != AllocatorOptions::kUnlimited && stats_.reserved_bytes.current + segment > allowed_) {
    missing_ = stats_.reserved_bytes.current + segment - allowed_;
    return kNoBlock;
  }
  if (options_.expandable_segments) return allocate_expandable(request);
  if (!take_pages(segment)) return kNoBlock;
  stats_.segment.increase(1);
  stats_.reserved_bytes.increase(segment);
  if (segment >= options_.max_split_bytes) stats_.oversize_segments.increase(1);
  ++stats_.num_device_alloc;
  const std::int64_t address = memory_.take_addresses(segment);
  if (sink_ != nullptr) sink_->segment_changed(SegmentAction::kAllocate, address, segment, request.stream);
  return blocks_.add({.address = address,
                      .order = order_of_segment(address, segment),
                      .size = segment,
                      .stream = request.stream,
                      .is_small = request.pool.is_small});
}

bool CachingAllocator::take_pages(std::int64_t bytes) {
  if (memory_.take(bytes)) return true;
  missing_ = round_to_pages(bytes) - memory_.free_bytes();
  return false;
}

std::int64_t CachingAllocator::order_of_segment(std::int64_t address, std::int64_t bytes) {
  if (!options_.older_segments_first) return address / kMinBlockBytes;
  const std::int64_t order = next_order_;
  next_order_ += bytes / kMinBlockBytes;
  return order;
}

bool CachingAllocator::has_room(BlockIndex block, std::int64_t size) const {
  std::int64_t bytes = 0;
  while (bytes < size && block != kNoBlock && blocks_[block].is_free()) {
    bytes += blocks_[block].size;
    block = blocks_[block].next;
  }
  return bytes >= size;
}

BlockIndex CachingAllocator::find_room(const Request& request) {
  for (BlockIndex candidate : request.list.unmapped) {
    // What is free just before the unmapped addresses can be used with them.
    const BlockIndex before = blocks_[candidate].previous;
    if (before != kNoBlock && blocks_[before].is_free()) candidate = before;
    if (has_room(candidate, request.size)) return candidate;
  }
  return new_expandable_segment(request);
}

BlockIndex CachingAllocator::new_expandable_segment(const Request& request) {
  const std::int64_t unit = request.pool.is_small ? kSmallSegmentBytes : options_.large_segment_bytes;
  // Addresses for the whole card and an eighth more, in case pages must be unmapped in front and mapped behind.
  const std::int64_t wanted = memory_.total_bytes() + memory_.total_bytes() / 8;
  const std::int64_t size = (wanted + unit - 1) / unit * unit;
  const ExpandableSegment segment{.address = memory_.take_addresses(size), .size = size, .unit = unit};
  std::uint32_t place = 0;
  if (unused_expandable_.empty()) {
    place = static_cast<std::uint32_t>(expandable_.size());
    expandable_.push_back(segment);
  } else {
    place = unused_expandable_.back();
    unused_expandable_.pop_back();
    expandable_[place] = segment;
  }
  const BlockIndex block = blocks_.add({.address = segment.address,
                                        .order = order_of_segment(segment.address, size),
                                        .size = size,
                                        .expandable = place,
                                        .stream = request.stream,
                                        .is_small = request.pool.is_small,
                                        .mapped = false});
  insert_unmapped(block);
  return block;
}

void CachingAllocator::insert_unmapped(BlockIndex index) {
  std::vector<BlockIndex>& unmapped = list_of(blocks_[index]).unmapped;
  const auto address = [&](BlockIndex each) { return blocks_[each].address; };
  unmapped.insert(std::ranges::lower_bound(unmapped, blocks_[index].address, {}, address), index);
}

void CachingAllocator::erase_unmapped(const Block& block) {
  std::vector<BlockIndex>& unmapped = list_of(block).unmapped;
  const auto address = [&](BlockIndex each) { return blocks_[each].address; };
  const auto found = std::ranges::lower_bound(unmapped, block.address, {}, address);
  VRAMWISE_CHECK(found != unmapped.end() && blocks_[*found].address == block.address);
  unmapped.erase(found);
}

bool CachingAllocator::map(BlockIndex index, std::int64_t size) {
  const Block block = blocks_[index];
  VRAMWISE_CHECK(!block.mapped && size <= block.size);
  const std::int64_t unit = expandable_[block.expandable].unit;
  const std::int64_t mapped = (size + unit - 1) / unit * unit;
  if (!take_pages(mapped)) return false;
  erase_unmapped(block);
  blocks_[index].mapped = true;
  if (mapped < block.size) {
    Block rest = block;
    rest.advance(mapped);
    rest.previous = index;
    rest.requested = 0;
    const BlockIndex rest_index = blocks_.add(rest);
    if (rest.next != kNoBlock) blocks_[rest.next].previous = rest_index;
    blocks_[index].next = rest_index;
    blocks_[index].size = mapped;
    insert_unmapped(rest_index);
  }
  merge_neighbours(index);
  put_into_list(index);
  stats_.reserved_bytes.increase(mapped);
  ++stats_.num_device_alloc;
  if (sink_ != nullptr) sink_->segment_changed(SegmentAction::kMap, block.address, mapped, block.stream);
  return true;
}

BlockIndex CachingAllocator::allocate_expandable(const Request& request) {
  BlockIndex candidate = find_room(request);
  // From here on: a free block, unmapped addresses, perhaps free blocks again, and so on.
  if (!blocks_[candidate].mapped && !map(candidate, std::min(blocks_[candidate].size, request.size))) return kNoBlock;
  while (blocks_[candidate].size < request.size) {
    const BlockIndex next = blocks_[candidate].next;
    const std::int64_t missing = request.size - blocks_[candidate].size;
    // What was mapped so far stays, as a free block.
    if (!map(next, std::min(missing, blocks_[next].size))) return kNoBlock;
    candidate = next;
  }
  take_from_list(blocks_[candidate]);
  return candidate;
}

}  // namespace vramwise
