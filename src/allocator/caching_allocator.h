// CachingAllocator: PyTorch's CUDA caching allocator (c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.14) without a
// card: the same blocks, segments and counters after the same calls. tests/allocator holds it against the real one.
//
//   CachingAllocator allocator({.expandable_segments = true}, DeviceMemory({.total_bytes = 24 << 30}));
//   BlockIndex block = allocator.allocate(1000);       // kNoBlock: out of memory
//   allocator.free(block);
//   allocator.stats().reserved_bytes.peak;
//
// Work on other streams (record_stream) counts as done when the next allocation is asked for, as on the emulated
// device; on a real card it may take longer. Private pools (CUDA graphs) are not modelled.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "allocator/block_table.h"
#include "allocator/device_memory.h"
#include "allocator/event.h"
#include "allocator/free_list.h"
#include "allocator/options.h"
#include "allocator/segment_sink.h"
#include "allocator/size_rules.h"
#include "allocator/stats.h"

namespace vramwise {

/// One entry of torch.cuda.memory_snapshot(): a segment, or a mapped range of an expandable segment.
struct SegmentState {
  struct Part {
    std::int64_t size = 0;
    std::int64_t requested = 0;  ///< as asked for; 0 where it is not active
    bool allocated = false;
    bool active = false;  ///< allocated, or freed and still in use by another stream
    BlockIndex block = kNoBlock;

    bool operator==(const Part&) const = default;
  };

  std::int64_t address = 0;
  std::int64_t size = 0;
  StreamIndex stream = 0;
  bool is_small = false;
  bool is_expandable = false;
  std::vector<Part> parts;  ///< from the lowest address on, without gaps

  bool operator==(const SegmentState&) const = default;
};

class CachingAllocator {
 public:
  explicit CachingAllocator(const AllocatorOptions& options = {}, DeviceMemory memory = DeviceMemory());

  /// A block for `bytes` (> 0), or kNoBlock where even released caches leave too little: then num_ooms has grown, and
  /// the state is as after PyTorch's OutOfMemoryError.
  BlockIndex allocate(std::int64_t bytes, StreamIndex stream = 0);
  void free(BlockIndex index);
  /// The block is also used by `stream`: its release waits until the next allocation.
  void record_stream(BlockIndex index, StreamIndex stream);
  /// As free(), but other streams use the block until free_done() gets the number that is returned here, or until the
  /// cache is released, which waits for them.
  std::uint32_t free_later(BlockIndex index);
  void free_done(std::uint32_t number);
  /// Releases every segment (every whole page of an expandable one) that holds nothing.
  void empty_cache();

  /// `bytes` of the card go to others than this allocator (negative: come back). False, and nothing taken: too few.
  bool take_outside(std::int64_t bytes);

  const AllocatorStats& stats() const { return stats_; }
  void reset_peaks();
  const DeviceMemory& memory() const { return memory_; }
  const AllocatorOptions& options() const { return options_; }

  std::int64_t address_of(BlockIndex block) const { return blocks_[block].address; }
  std::int64_t size_of(BlockIndex block) const { return blocks_[block].size; }

  /// By address.
  std::vector<SegmentState> segments() const;

  /// After kNoBlock: the least by which the card, or the part of it that memory_fraction allows, was too small.
  std::int64_t missing_bytes() const { return missing_; }

  /// How a large block was found that does not have just the size that was asked for.
  struct Choice {
    std::int64_t asked = 0;  ///< of the block, rounded
    std::int64_t given = 0;  ///< the free block, or the new segment, of which it was cut
    bool is_new = false;
  };
  /// Notes these choices, the requests of all streams in one list; null: not any more.
  void set_choice_log(std::vector<Choice>* log) { choices_ = log; }
  std::vector<Choice>* choice_log() const { return choices_; }
  /// A request takes the smallest free block that is large enough, and of those the one at the lowest address; new
  /// segments have come at ever higher addresses.
  bool takes_best_fit() const {
    return exact_is_best_ && options_.older_segments_first && stats_.num_device_free == 0 &&
           large_.streams.size() <= 1 && keeps_pools_apart();
  }
  /// An expandable segment that ends in addresses which are not mapped, as on a card without end, serves from there
  /// only what no other free block is large enough for, and from the same address on however much is mapped already.
  bool takes_end_last() const {
    return options_.expandable_segments && options_.max_split_bytes == AllocatorOptions::kUnlimited &&
           stats_.num_device_free == 0;
  }
  /// On a card without end. Otherwise blocks of one pool may be released for the other one.
  bool keeps_pools_apart() const { return allowed_ == AllocatorOptions::kUnlimited; }
  bool is_small(std::int64_t bytes) const { return is_small_request(block_bytes(bytes)); }
  /// How many blocks are allocated in the pool of large ones.
  std::int64_t large_blocks() const;

  /// A block, or addresses of an expandable segment that are not mapped.
  struct Place {
    std::int64_t address = 0;
    std::int64_t order = 0;
    std::int64_t size = 0;
    StreamIndex stream = 0;
    bool is_small = false;
    bool allocated = false;
    bool mapped = false;

    bool operator==(const Place&) const = default;
  };
  /// All of them by address. False: what the allocator will do hangs on more than these, and on the card.
  bool tell_layout(std::vector<Place>& places) const;

  /// Told of every segment that comes and goes; null: nobody.
  void set_segment_sink(SegmentSink* sink) { sink_ = sink; }

 private:
  struct StreamPool {
    FreeList free;
    std::vector<BlockIndex> unmapped;  ///< of expandable segments, by address
  };
  struct Pool {
    bool is_small = false;
    std::vector<std::unique_ptr<StreamPool>> streams{};
    std::uint32_t searches = 0;  ///< get_free_blocks_call_count: the clock of garbage collection
  };
  struct ExpandableSegment {
    std::int64_t address = 0;
    std::int64_t size = 0;  ///< of addresses
    std::int64_t unit = 0;  ///< of mapping
  };
  /// What one allocation asks for.
  struct Request {
    std::int64_t size = 0;  ///< of the block, rounded
    StreamIndex stream = 0;
    Pool& pool;
    StreamPool& list;
  };

  /// A free block, and its place in the list.
  struct Found {
    BlockIndex block = kNoBlock;
    FreeList::Cursor place{};  ///< not valid: it was in no list
  };

  std::int64_t block_bytes(std::int64_t bytes) const {
    return rounds_to_divisions_ ? rounded_block_bytes(options_, bytes) : rounded_to_granules(bytes);
  }
  static StreamPool& stream_pool(Pool& pool, StreamIndex stream) {
    if (stream < pool.streams.size() && pool.streams[stream] != nullptr) return *pool.streams[stream];
    return new_stream_pool(pool, stream);
  }
  static StreamPool& new_stream_pool(Pool& pool, StreamIndex stream);
  Pool& pool_of(const Block& block) { return block.is_small ? small_ : large_; }
  StreamPool& list_of(const Block& block) { return *pool_of(block).streams[block.stream]; }
  bool ages_blocks() const {
    return allowed_ != AllocatorOptions::kUnlimited && options_.garbage_collection_threshold > 0;
  }

  // caching_allocator.cc
  Found find_free(const Request& request);
  /// Where nothing that is cached fits.
  BlockIndex from_device(const Request& request);
  FreeList::Cursor best_expandable(const FreeList& list, FreeList::Cursor cursor) const;
  BlockIndex hand_out(const Request& request, const Found& where, std::int64_t requested);
  bool should_split(const Block& block, std::int64_t size) const;
  FreeList::Entry entry_of(BlockIndex index);
  void put_into_list(BlockIndex index);
  void take_from_list(const Block& block) { list_of(block).free.erase(block.size, block.order); }
  void release_block(BlockIndex index);
  bool can_merge(const Block& block, BlockIndex neighbour) const {
    return neighbour != kNoBlock && blocks_[neighbour].is_free() && blocks_[neighbour].mapped == block.mapped;
  }
  /// The block takes over its neighbour, which is in no list any more. Returns how many bytes.
  std::int64_t absorb(BlockIndex index, BlockIndex neighbour);
  /// What was mapped or unmapped joins its like on both sides.
  void merge_neighbours(BlockIndex index);
  void complete_uses();
  void count_as_allocated(Block& block, std::int64_t requested);
  void count_as_freed(Block& block);

  // new_segments.cc
  bool take_pages(std::int64_t bytes);
  std::int64_t order_of_segment(std::int64_t address, std::int64_t bytes);
  BlockIndex allocate_segment(const Request& request, bool is_retry);
  BlockIndex allocate_expandable(const Request& request);
  BlockIndex find_room(const Request& request);
  BlockIndex new_expandable_segment(const Request& request);
  bool has_room(BlockIndex block, std::int64_t size) const;
  bool map(BlockIndex index, std::int64_t size);
  void insert_unmapped(BlockIndex index);
  void erase_unmapped(const Block& block);

  // release.cc
  void collect_garbage();
  bool release_oversize(const Request& request);
  void release_cached();
  void release_pool(Pool& pool);
  void give_back_segment(BlockIndex index);
  void unmap(BlockIndex index);
  void give_back_expandable(BlockIndex index);

  AllocatorOptions options_;
  DeviceMemory memory_;
  bool rounds_to_divisions_;
  bool exact_is_best_;  ///< no option stands against a free block of just the size that is asked for
  std::int64_t allowed_ = AllocatorOptions::kUnlimited;  ///< by memory_fraction
  AllocatorStats stats_;
  BlockTable blocks_;
  Pool small_{.is_small = true};
  Pool large_;
  std::vector<ExpandableSegment> expandable_;
  std::vector<std::uint32_t> unused_expandable_;
  std::vector<BlockIndex> waiting_;  ///< freed, but used by other streams
  struct Held {
    BlockIndex block = kNoBlock;
    std::uint32_t number = 0;
  };
  std::vector<Held> held_;  ///< likewise, until free_done
  std::uint32_t last_held_ = 0;
  std::int64_t missing_ = 0;
  std::int64_t next_order_ = 0;
  SegmentSink* sink_ = nullptr;
  std::vector<Choice>* choices_ = nullptr;
};

}  // namespace vramwise
