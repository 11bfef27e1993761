// Handing out and taking back blocks: the best fit, splitting, merging. What happens where no cached block fits is in
// new_segments.cc and release.cc. The order of the steps is that of DeviceCachingAllocator::malloc and ::free.
#include "allocator/caching_allocator.h"

#include <algorithm>

#include "base/check.h"

namespace vramwise {
namespace {

// PyTorch refuses to even try beyond this.
constexpr std::int64_t kTooLarge = std::int64_t{1} << 60;

}  // namespace

CachingAllocator::CachingAllocator(const AllocatorOptions& options, DeviceMemory memory)
    : options_(options),
      memory_(std::move(memory)),
      rounds_to_divisions_(std::ranges::any_of(options.roundup_power2_divisions, [](std::int64_t n) { return n > 1; })),
      exact_is_best_(!options.expandable_segments && options.max_split_bytes == AllocatorOptions::kUnlimited &&
                     options.garbage_collection_threshold == 0) {
  if (options_.memory_fraction < 1)
    allowed_ = static_cast<std::int64_t>(options_.memory_fraction * static_cast<double>(memory_.total_bytes()));
}

CachingAllocator::StreamPool& CachingAllocator::new_stream_pool(Pool& pool, StreamIndex stream) {
  if (pool.streams.size() <= stream) pool.streams.resize(std::size_t{stream} + 1);
  pool.streams[stream] = std::make_unique<StreamPool>();
  return *pool.streams[stream];
}

BlockIndex CachingAllocator::allocate(std::int64_t bytes, StreamIndex stream) {
  VRAMWISE_CHECK(bytes > 0);
  if (bytes >= kTooLarge) {
    missing_ = bytes - memory_.free_bytes();
    return kNoBlock;
  }
  if (!waiting_.empty()) complete_uses();
  const std::int64_t size = block_bytes(bytes);
  Pool& pool = is_small_request(size) ? small_ : large_;
  const Request request{.size = size, .stream = stream, .pool = pool, .list = stream_pool(pool, stream)};
  if (exact_is_best_) {
    if (const BlockIndex index = request.list.free.take_exact(size); index != kNoBlock) {
      Block& block = blocks_[index];
      if (block.is_split()) {
        stats_.inactive_split_bytes.decrease(size);
        stats_.inactive_split.decrease(1);
      }
      count_as_allocated(block, bytes);
      return index;
    }
  }
  Found found = find_free(request);
  if (found.block == kNoBlock) found = {.block = from_device(request)};
  if (found.block == kNoBlock) return kNoBlock;
  if (choices_ != nullptr && !pool.is_small)
    choices_->push_back({.asked = size, .given = blocks_[found.block].size, .is_new = !found.place.valid()});
  return hand_out(request, found, bytes);
}

BlockIndex CachingAllocator::from_device(const Request& request) {
  if (ages_blocks()) collect_garbage();
  BlockIndex block = allocate_segment(request, false);
  if (block == kNoBlock && release_oversize(request)) block = allocate_segment(request, false);
  if (block == kNoBlock) {
    release_cached();
    block = allocate_segment(request, true);
  }
  if (block == kNoBlock) ++stats_.num_ooms;
  return block;
}

FreeList::Cursor CachingAllocator::best_expandable(const FreeList& list, FreeList::Cursor cursor) const {
  // A block at the end of what is mapped counts with the addresses after it, for it could grow.
  const auto growable = [&](FreeList::Cursor at) {
    const Block& block = blocks_[list.at(at).block];
    const bool can_grow = block.next != kNoBlock && !blocks_[block.next].mapped;
    return block.size + (can_grow ? blocks_[block.next].size : 0);
  };
  while (true) {
    const FreeList::Cursor next = list.next(cursor);
    if (!next.valid() || growable(next) >= growable(cursor)) return cursor;
    cursor = next;
  }
}

CachingAllocator::Found CachingAllocator::find_free(const Request& request) {
  if (ages_blocks()) ++request.pool.searches;
  const FreeList& list = request.list.free;
  FreeList::Cursor cursor = list.lower_bound(request.size);
  if (!cursor.valid()) return {};
  if (options_.expandable_segments) cursor = best_expandable(list, cursor);
  const FreeList::Entry& entry = list.at(cursor);
  const bool oversize = request.size >= options_.max_split_bytes;
  if (!oversize && entry.size >= options_.max_split_bytes) return {};
  if (oversize && entry.size >= request.size + options_.max_non_split_rounding_bytes) return {};
  return {.block = entry.block, .place = cursor};
}

bool CachingAllocator::should_split(const Block& block, std::int64_t size) const {
  const std::int64_t rest = block.size - size;
  if (block.is_small || options_.expandable_segments) return rest >= kMinBlockBytes;
  return size < options_.max_split_bytes && rest > kLargestSmallBytes;
}

BlockIndex CachingAllocator::hand_out(const Request& request, const Found& where, std::int64_t requested) {
  const BlockIndex found = where.block;
  FreeList& list = request.list.free;
  BlockIndex index = found;
  const bool was_split = blocks_[found].is_split();
  const bool counts_as_split = !blocks_[found].is_expandable();
  if (should_split(blocks_[found], request.size)) {
    // The front becomes a block of its own; `found` is what remains.
    Block front = blocks_[found];
    front.size = request.size;
    front.next = found;
    index = blocks_.add(front);
    if (front.previous != kNoBlock) blocks_[front.previous].next = index;
    Block& rest = blocks_[found];
    rest.previous = index;
    rest.advance(request.size);
    if (where.place.valid()) {
      list.replace(where.place, entry_of(found));
    } else {
      list.insert(entry_of(found));
    }
    if (counts_as_split && was_split) {
      stats_.inactive_split_bytes.decrease(request.size);
    } else if (counts_as_split) {
      stats_.inactive_split_bytes.increase(rest.size);
      stats_.inactive_split.increase(1);
    }
  } else {
    if (where.place.valid()) list.erase(where.place);
    if (was_split && counts_as_split) {
      stats_.inactive_split_bytes.decrease(blocks_[found].size);
      stats_.inactive_split.decrease(1);
    }
  }
  count_as_allocated(blocks_[index], requested);
  return index;
}

FreeList::Entry CachingAllocator::entry_of(BlockIndex index) {
  Block& block = blocks_[index];
  block.freed_at = pool_of(block).searches;
  return {.size = block.size, .order = block.order, .block = index};
}

void CachingAllocator::put_into_list(BlockIndex index) { list_of(blocks_[index]).free.insert(entry_of(index)); }

inline void CachingAllocator::count_as_allocated(Block& block, std::int64_t requested) {
  block.allocated = true;
  block.requested = requested;
  stats_.allocation.increase(1);
  stats_.allocated_bytes.increase(block.size);
  stats_.active.increase(1);
  stats_.active_bytes.increase(block.size);
  stats_.requested_bytes.increase(requested);
  if (block.size >= options_.max_split_bytes) stats_.oversize_allocations.increase(1);
}

inline void CachingAllocator::count_as_freed(Block& block) {
  VRAMWISE_CHECK(block.allocated);
  block.allocated = false;
  stats_.allocation.decrease(1);
  stats_.allocated_bytes.decrease(block.size);
  if (block.size >= options_.max_split_bytes) stats_.oversize_allocations.decrease(1);
}

void CachingAllocator::free(BlockIndex index) {
  Block& block = blocks_[index];
  count_as_freed(block);
  if (block.other_streams == 0) {
    release_block(index);
    return;
  }
  blocks_.clear_streams(index);
  block.waiting = true;
  waiting_.push_back(index);
}

std::uint32_t CachingAllocator::free_later(BlockIndex index) {
  count_as_freed(blocks_[index]);
  blocks_.clear_streams(index);
  blocks_[index].waiting = true;
  held_.push_back({.block = index, .number = ++last_held_});
  return last_held_;
}

void CachingAllocator::free_done(std::uint32_t number) {
  const auto found = std::ranges::find(held_, number, &Held::number);
  if (found == held_.end()) return;
  const BlockIndex index = found->block;
  held_.erase(found);
  blocks_[index].waiting = false;
  release_block(index);
}

void CachingAllocator::record_stream(BlockIndex index, StreamIndex stream) {
  VRAMWISE_CHECK(blocks_[index].allocated);
  if (stream != blocks_[index].stream) blocks_.add_stream(index, stream);
}

void CachingAllocator::complete_uses() {
  for (const BlockIndex index : waiting_) {
    blocks_[index].waiting = false;
    release_block(index);
  }
  waiting_.clear();
}

inline std::int64_t CachingAllocator::absorb(BlockIndex index, BlockIndex neighbour) {
  Block& block = blocks_[index];
  const Block& taken = blocks_[neighbour];
  if (block.previous == neighbour) {
    block.address = taken.address;
    block.order = taken.order;
    block.previous = taken.previous;
    if (block.previous != kNoBlock) blocks_[block.previous].next = index;
  } else {
    block.next = taken.next;
    if (block.next != kNoBlock) blocks_[block.next].previous = index;
  }
  const std::int64_t bytes = taken.size;
  block.size += bytes;
  blocks_.remove(neighbour);
  return bytes;
}

void CachingAllocator::merge_neighbours(BlockIndex index) {
  for (const BlockIndex neighbour : {blocks_[index].previous, blocks_[index].next}) {
    if (!can_merge(blocks_[index], neighbour)) continue;
    if (blocks_[neighbour].mapped) {
      take_from_list(blocks_[neighbour]);
    } else {
      erase_unmapped(blocks_[neighbour]);
    }
    absorb(index, neighbour);
  }
}

void CachingAllocator::release_block(BlockIndex index) {
  Block& block = blocks_[index];
  stats_.active.decrease(1);
  stats_.active_bytes.decrease(block.size);
  stats_.requested_bytes.decrease(block.requested);
  FreeList& list = list_of(block).free;
  if (block.is_split()) {
    std::int64_t split_blocks = 0;
    std::int64_t split_bytes = 0;
    for (const BlockIndex neighbour : {block.previous, block.next}) {
      if (!can_merge(block, neighbour)) continue;
      list.erase(blocks_[neighbour].size, blocks_[neighbour].order);
      --split_blocks;
      split_bytes -= absorb(index, neighbour);
    }
    if (block.is_split()) {
      ++split_blocks;
      split_bytes += block.size;
    }
    if (!block.is_expandable()) {
      stats_.inactive_split.increase(split_blocks);
      stats_.inactive_split_bytes.increase(split_bytes);
    }
  }
  list.insert(entry_of(index));
}

bool CachingAllocator::take_outside(std::int64_t bytes) {
  if (bytes >= 0) return memory_.take(bytes);
  memory_.give_back(-bytes);
  return true;
}

std::int64_t CachingAllocator::large_blocks() const {
  std::int64_t count = 0;
  for (BlockIndex index = 0; index < blocks_.size(); ++index)
    count += blocks_[index].in_use && !blocks_[index].is_free() && !blocks_[index].is_small ? 1 : 0;
  return count;
}

bool CachingAllocator::tell_layout(std::vector<Place>& places) const {
  places.clear();
  if (ages_blocks() || !waiting_.empty() || !held_.empty()) return false;
  std::vector<BlockIndex> heads;
  for (BlockIndex index = 0; index < blocks_.size(); ++index)
    if (blocks_[index].in_use && blocks_[index].previous == kNoBlock) heads.push_back(index);
  std::ranges::sort(heads, {}, [this](BlockIndex index) { return blocks_[index].address; });
  places.reserve(blocks_.size());
  for (const BlockIndex head : heads) {
    for (BlockIndex index = head; index != kNoBlock; index = blocks_[index].next) {
      const Block& block = blocks_[index];
      if (block.other_streams != 0) return false;
      places.push_back({.address = block.address,
                        .order = block.order,
                        .size = block.size,
                        .stream = block.stream,
                        .is_small = block.is_small,
                        .allocated = block.allocated,
                        .mapped = block.mapped});
    }
  }
  return true;
}

void CachingAllocator::reset_peaks() {
  for (AllocatorStat* stat :
       {&stats_.allocated_bytes, &stats_.reserved_bytes, &stats_.active_bytes, &stats_.inactive_split_bytes,
        &stats_.requested_bytes, &stats_.allocation, &stats_.segment, &stats_.active, &stats_.inactive_split,
        &stats_.oversize_allocations, &stats_.oversize_segments})
    stat->peak = stat->current;
}

std::vector<SegmentState> CachingAllocator::segments() const {
  std::vector<SegmentState> result;
  for (BlockIndex head = 0; head < blocks_.size(); ++head) {
    const Block& first = blocks_[head];
    // A mapped range begins where nothing, or nothing mapped, is before it.
    if (!first.in_use || !first.mapped || (first.previous != kNoBlock && blocks_[first.previous].mapped)) continue;
    SegmentState& segment = result.emplace_back();
    segment.address = first.address;
    segment.stream = first.stream;
    segment.is_small = first.is_small;
    segment.is_expandable = first.is_expandable();
    for (BlockIndex index = head; index != kNoBlock && blocks_[index].mapped; index = blocks_[index].next) {
      const Block& block = blocks_[index];
      segment.size += block.size;
      segment.parts.push_back({.size = block.size,
                               .requested = block.is_free() ? 0 : block.requested,
                               .allocated = block.allocated,
                               .active = !block.is_free(),
                               .block = index});
    }
  }
  std::ranges::sort(result, {}, &SegmentState::address);
  return result;
}

}  // namespace vramwise
