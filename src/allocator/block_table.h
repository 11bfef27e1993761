// The blocks of the caching allocator in one array: neighbours in a segment know each other by index.
#pragma once

#include <cstdint>
#include <vector>

#include "allocator/event.h"
#include "allocator/free_list.h"

namespace vramwise {

struct alignas(64) Block {
  std::int64_t address = 0;
  std::int64_t order = 0;  ///< among free blocks of one size, in units of 512 bytes from the start of its segment
  std::int64_t size = 0;
  std::int64_t requested = 0;
  std::uint32_t freed_at = 0;  ///< gc_count_base: the pool's count of searches when it was put into the free list
  BlockIndex previous = kNoBlock;
  BlockIndex next = kNoBlock;
  std::uint32_t expandable = kNotExpandable;  ///< its expandable segment
  std::uint32_t other_streams = 0;            ///< head of its list in BlockTable
  StreamIndex stream = 0;
  bool is_small = false;
  bool allocated = false;
  bool waiting = false;  ///< freed, while other streams may still use it
  bool mapped = true;
  bool in_use = true;  ///< false: this place of the table is vacant

  static constexpr std::uint32_t kNotExpandable = ~std::uint32_t{0};
  bool is_expandable() const { return expandable != kNotExpandable; }
  /// Moves the beginning.
  void advance(std::int64_t bytes) {
    address += bytes;
    order += bytes / 512;
    size -= bytes;
  }
  bool is_split() const { return previous != kNoBlock || next != kNoBlock; }
  bool is_free() const { return !allocated && !waiting && other_streams == 0; }
};

class BlockTable {
 public:
  Block& operator[](BlockIndex index) { return blocks_[index]; }
  const Block& operator[](BlockIndex index) const { return blocks_[index]; }
  std::size_t size() const { return blocks_.size(); }

  /// References into the table do not survive this.
  BlockIndex add(const Block& block) {
    if (!vacant_.empty()) {
      const BlockIndex index = vacant_.back();
      vacant_.pop_back();
      blocks_[index] = block;
      return index;
    }
    blocks_.push_back(block);
    return static_cast<BlockIndex>(blocks_.size() - 1);
  }
  void remove(BlockIndex index) {
    blocks_[index].in_use = false;
    vacant_.push_back(index);
  }

  /// Notes that another stream uses the block; once for each stream.
  void add_stream(BlockIndex index, StreamIndex stream) {
    for (std::uint32_t use = blocks_[index].other_streams; use != 0; use = uses_[use].next)
      if (uses_[use].stream == stream) return;
    if (vacant_use_ == 0) {
      uses_.emplace_back();
      vacant_use_ = static_cast<std::uint32_t>(uses_.size() - 1);
    }
    const std::uint32_t use = vacant_use_;
    vacant_use_ = uses_[use].next;
    uses_[use] = {.stream = stream, .next = blocks_[index].other_streams};
    blocks_[index].other_streams = use;
  }
  void clear_streams(BlockIndex index) {
    while (blocks_[index].other_streams != 0) {
      const std::uint32_t use = blocks_[index].other_streams;
      blocks_[index].other_streams = uses_[use].next;
      uses_[use].next = vacant_use_;
      vacant_use_ = use;
    }
  }

 private:
  struct Use {
    StreamIndex stream = 0;
    std::uint32_t next = 0;
  };

  std::vector<Block> blocks_;
  std::vector<BlockIndex> vacant_;
  std::vector<Use> uses_{1};  ///< the first is no use: 0 ends a list
  std::uint32_t vacant_use_ = 0;
};

}  // namespace vramwise
