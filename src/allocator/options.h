// AllocatorOptions: what PYTORCH_ALLOC_CONF (and its older name PYTORCH_CUDA_ALLOC_CONF) can set of PyTorch's CUDA
// caching allocator, as far as it changes device memory.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "base/result.h"

namespace vramwise {

struct AllocatorOptions {
  static constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

  bool expandable_segments = false;
  /// Blocks of at least this size are never split, and serve only requests of about their size.
  std::int64_t max_split_bytes = kUnlimited;
  /// How much larger than the request such a block may be.
  std::int64_t max_non_split_rounding_bytes = std::int64_t{20} << 20;
  /// Requests between 1 and 10 MiB take a segment of this size; with expandable_segments, the unit of mapping.
  std::int64_t large_segment_bytes = std::int64_t{20} << 20;
  /// Sizes are rounded up to one of this many steps between powers of two; element i is for sizes from 2^i MiB to
  /// 2^(i+1) MiB, the first for smaller ones too, the last for larger ones too. 0 and 1: only to 512 bytes.
  std::array<std::int64_t, 16> roundup_power2_divisions{};
  /// Cached blocks that have not been used for long are released once more than this part of the allowed memory is
  /// reserved; 0: never. Without effect while memory_fraction is 1, as in PyTorch.
  double garbage_collection_threshold = 0;
  /// `torch.cuda.set_per_process_memory_fraction`, or the option per_process_memory_fraction.
  double memory_fraction = 1;
  /// Among free blocks of one size, one of an older segment is taken first, and within a segment the lower one. That is
  /// PyTorch 2.14's rule; before, the lowest address was taken (github.com/pytorch/pytorch/pull/183591). No setting.
  bool older_segments_first = true;

  bool operator==(const AllocatorOptions&) const = default;
};

/// Reads "key:value,key:[a:b,c:d]" as PyTorch 2.14 does, on top of the defaults. What concerns only host memory or
/// locking is accepted and changes nothing.
/// Errors: unknown keys, values that PyTorch refuses; kIncomplete for what it accepts and this model has not
/// (backend:cudaMallocAsync, throw_on_cudamalloc_oom:True).
Result<AllocatorOptions> parse_allocator_options(std::string_view text);

}  // namespace vramwise
