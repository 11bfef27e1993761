// PinnedMemory: page-locked memory of the host as PyTorch caches it (ATen/core/CachingHostAllocator.h of 2.14): blocks
// are rounded up to powers of two, are never cut nor given back, and serve later requests of their size again.
#pragma once

#include <bit>
#include <cstdint>

namespace vramwise::tape {

class PinnedMemory {
 public:
  /// A block for so many bytes, for which memory is taken where none of its size is free. Blocks wait for the copies
  /// that read or write them; these are taken to be over by the next request.
  void take(std::int64_t bytes) {
    int& free = free_[size_class(bytes)];
    if (free > 0) {
      --free;
    } else {
      held_bytes_ += std::int64_t{1} << size_class(bytes);
    }
  }
  void give(std::int64_t bytes) { ++free_[size_class(bytes)]; }
  /// Of all blocks, free ones too.
  std::int64_t held_bytes() const { return held_bytes_; }

  bool operator==(const PinnedMemory&) const = default;

 private:
  static int size_class(std::int64_t bytes) { return std::bit_width(static_cast<std::uint64_t>(bytes - 1)); }

  int free_[64] = {};
  std::int64_t held_bytes_ = 0;
};

}  // namespace vramwise::tape
