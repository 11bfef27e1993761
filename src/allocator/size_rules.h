// How large a block and a segment become: the size rules of PyTorch's CUDA caching allocator
// (c10/core/AllocatorConfig.h and c10/cuda/CUDACachingAllocator.cpp of PyTorch 2.14; the same since 2.0 but for the
// options that came later).
#pragma once

#include <bit>
#include <cstdint>

#include "allocator/options.h"

namespace vramwise {

inline constexpr std::int64_t kMinBlockBytes = 512;
inline constexpr std::int64_t kLargestSmallBytes = std::int64_t{1} << 20;  ///< up to here a request is "small"
inline constexpr std::int64_t kSmallSegmentBytes = std::int64_t{2} << 20;
inline constexpr std::int64_t kMinOwnSegmentBytes = std::int64_t{10} << 20;  ///< from here on a segment of its own
inline constexpr std::int64_t kSegmentRoundingBytes = std::int64_t{2} << 20;

inline constexpr bool is_small_request(std::int64_t rounded_bytes) { return rounded_bytes <= kLargestSmallBytes; }

namespace internal {
/// To the next of `divisions` (a power of two, at least 2) equal steps between two powers of two.
constexpr std::int64_t round_to_division(std::int64_t bytes, std::int64_t divisions) {
  const auto size = static_cast<std::uint64_t>(bytes);
  if (std::has_single_bit(size)) return bytes;
  const std::uint64_t floor = std::bit_floor(size);
  const std::uint64_t step = floor >> (std::bit_width(static_cast<std::uint64_t>(divisions)) - 1);
  if (step == 0) return static_cast<std::int64_t>(floor << 1);
  return static_cast<std::int64_t>((size + step - 1) & ~(step - 1));
}

constexpr std::int64_t divisions_for(const AllocatorOptions& options, std::int64_t bytes) {
  const int exponent = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(bytes))) - 1;
  const int index = exponent > 20 ? exponent - 20 : 0;
  const int last = static_cast<int>(options.roundup_power2_divisions.size()) - 1;
  return options.roundup_power2_divisions[static_cast<std::size_t>(index < last ? index : last)];
}
}  // namespace internal

inline constexpr std::int64_t rounded_to_granules(std::int64_t bytes) {
  return bytes < kMinBlockBytes ? kMinBlockBytes : (bytes + kMinBlockBytes - 1) & ~(kMinBlockBytes - 1);
}

/// The size of the block that a request of `bytes` (> 0) gets at least.
inline constexpr std::int64_t rounded_block_bytes(const AllocatorOptions& options, std::int64_t bytes) {
  if (bytes < kMinBlockBytes) return kMinBlockBytes;
  const std::int64_t divisions = internal::divisions_for(options, bytes);
  if (divisions > 1 && bytes > kMinBlockBytes * divisions) return internal::round_to_division(bytes, divisions);
  return rounded_to_granules(bytes);
}

/// The size of the segment that is requested from the driver where no cached block fits.
inline constexpr std::int64_t segment_bytes_for(const AllocatorOptions& options, std::int64_t rounded_bytes) {
  if (is_small_request(rounded_bytes)) return kSmallSegmentBytes;
  if (rounded_bytes < kMinOwnSegmentBytes) return options.large_segment_bytes;
  return (rounded_bytes + kSegmentRoundingBytes - 1) & ~(kSegmentRoundingBytes - 1);
}

}  // namespace vramwise
