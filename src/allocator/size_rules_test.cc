#include "allocator/size_rules.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

constexpr std::int64_t kKiB = std::int64_t{1} << 10;
constexpr std::int64_t kMiB = std::int64_t{1} << 20;

TEST(SizeRules, RoundsTo512) {
  const AllocatorOptions plain;
  EXPECT_EQ(rounded_block_bytes(plain, 1), 512);
  EXPECT_EQ(rounded_block_bytes(plain, 512), 512);
  EXPECT_EQ(rounded_block_bytes(plain, 513), 1024);
  EXPECT_EQ(rounded_block_bytes(plain, kMiB + 1), kMiB + 512);
}

TEST(SizeRules, SegmentsOfTwoTwentyAndMore) {
  const AllocatorOptions plain;
  EXPECT_EQ(segment_bytes_for(plain, kMiB), 2 * kMiB);
  EXPECT_EQ(segment_bytes_for(plain, kMiB + 512), 20 * kMiB);
  EXPECT_EQ(segment_bytes_for(plain, 10 * kMiB - 512), 20 * kMiB);
  EXPECT_EQ(segment_bytes_for(plain, 10 * kMiB), 10 * kMiB);
  EXPECT_EQ(segment_bytes_for(plain, 10 * kMiB + 512), 12 * kMiB);
}

TEST(SizeRules, PowerOfTwoDivisions) {
  AllocatorOptions options;
  options.roundup_power2_divisions.fill(4);
  // PyTorch's documentation: 1200 with 4 divisions lies between 1024, 1280, 1536 and 1792.
  EXPECT_EQ(internal::round_to_division(1200, 4), 1280);
  EXPECT_EQ(rounded_block_bytes(options, 1200), 1536) << "too small for divisions: to 512 bytes";
  EXPECT_EQ(rounded_block_bytes(options, 1200 * kKiB), 1280 * kKiB);
  EXPECT_EQ(rounded_block_bytes(options, 8 * kMiB), 8 * kMiB);
  options.roundup_power2_divisions.fill(1);
  EXPECT_EQ(rounded_block_bytes(options, 1200 * kKiB), 1200 * kKiB);
}

}  // namespace
}  // namespace vramwise
