// Counts what lives: an allocator for CPU tensors that wraps PyTorch's own and knows the live bytes and their peak
// exactly.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace vramwise::testing {

/// Replaces PyTorch's CPU allocator on construction and puts it back on destruction; one at a time. Tensors may outlive
/// it.
class CountingAllocator {
 public:
  CountingAllocator();
  ~CountingAllocator();
  CountingAllocator(const CountingAllocator&) = delete;
  CountingAllocator& operator=(const CountingAllocator&) = delete;

  std::int64_t live_bytes() const;
  std::int64_t peak_bytes() const;
  /// From now on the peak is that of what lives now and later.
  void reset_peak();
  /// Called at each allocation (bytes > 0) and release (bytes < 0) with the live bytes after it; for looking at a step.
  void set_observer(std::function<void(std::int64_t bytes, std::int64_t live)> observer);

 private:
  at::Allocator* previous_;
};

}  // namespace vramwise::testing
