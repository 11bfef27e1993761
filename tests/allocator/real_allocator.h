// PyTorch's own CUDA caching allocator, driven through the interface that needs no CUDA headers. No <torch/…> here, so
// that the rest of the comparison is compiled without it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "allocator/caching_allocator.h"

namespace vramwise {

class RealAllocator {
 public:
  /// On card `device`, whose context this opens. Stream 0 is the default one, the others are from PyTorch's pool.
  RealAllocator(int device, int streams);
  ~RealAllocator();
  RealAllocator(const RealAllocator&) = delete;
  RealAllocator& operator=(const RealAllocator&) = delete;

  static int device_count();
  /// As the card reports it now.
  DeviceMemoryLimits limits() const;

  /// The address; 0: out of memory.
  std::int64_t allocate(std::int64_t bytes, int stream);
  void free(std::int64_t address);
  void record_stream(std::int64_t address, int stream);
  void empty_cache();
  AllocatorStats stats() const;
  /// Of this card, as torch.cuda.memory_snapshot() has it; SegmentState::Part::block is kNoBlock.
  std::vector<SegmentState> segments() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vramwise
