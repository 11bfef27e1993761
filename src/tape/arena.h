// Pool: memory for the small objects of a tape, given back to free lists by size and never to the heap while it runs.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace vramwise::tape {

class Pool {
 public:
  /// Uninitialised memory, aligned for any type. What is above 4 KiB comes from the heap.
  void* take(std::size_t bytes) {
    const std::size_t bin = bin_of(bytes);
    if (bin >= kBins) return ::operator new(bytes);
    if (Free* block = free_[bin]) {
      free_[bin] = block->next;
      return block;
    }
    const std::size_t size = (bin + 1) * kGranule;
    if (left_ < size) grow();
    std::byte* block = next_;
    next_ += size;
    left_ -= size;
    return block;
  }

  /// Gives back what take(bytes) returned.
  void give(void* memory, std::size_t bytes) {
    const std::size_t bin = bin_of(bytes);
    if (bin >= kBins) return ::operator delete(memory);
    auto* block = static_cast<Free*>(memory);
    Free*& list = free_[bin];
    block->next = list;
    list = block;
  }

 private:
  static constexpr std::size_t kGranule = 64;
  static constexpr std::size_t kBins = 64;
  static constexpr std::size_t kSlab = std::size_t{1} << 17;

  struct Free {
    Free* next;
  };

  static std::size_t bin_of(std::size_t bytes) { return (bytes - 1) / kGranule; }
  void grow() {
    slabs_.push_back(std::make_unique_for_overwrite<std::byte[]>(kSlab));
    next_ = slabs_.back().get();
    left_ = kSlab;
  }

  std::vector<std::unique_ptr<std::byte[]>> slabs_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
  Free* free_[kBins] = {};
};

}  // namespace vramwise::tape
