#include "allocator/options.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

AllocatorOptions parsed(std::string_view text) {
  const auto options = parse_allocator_options(text);
  EXPECT_TRUE(options.ok()) << text << ": " << (options.ok() ? "" : options.error().what);
  return options.ok() ? *options : AllocatorOptions();
}

TEST(AllocatorOptions, NothingIsTheDefault) { EXPECT_EQ(parsed(""), AllocatorOptions()); }

TEST(AllocatorOptions, ReadsEverySetting) {
  const auto options = parsed(
      " max_split_size_mb : 40 ,max_non_split_rounding_mb:30,garbage_collection_threshold:0.5,"
      "roundup_power2_divisions:[64:8,128:2,256:4,512:2,1024:4,>:1],expandable_segments:True,"
      "per_process_memory_fraction:0.75,pinned_use_background_threads:True,backend:native");
  EXPECT_EQ(options.max_split_bytes, 40 * kMiB);
  EXPECT_EQ(options.max_non_split_rounding_bytes, 30 * kMiB);
  EXPECT_EQ(options.large_segment_bytes, 20 * kMiB);
  EXPECT_EQ(options.garbage_collection_threshold, 0.5);
  EXPECT_EQ(options.memory_fraction, 0.75);
  EXPECT_TRUE(options.expandable_segments);
  const std::array<std::int64_t, 16> divisions{8, 8, 8, 8, 8, 8, 8, 2, 4, 2, 4, 1, 1, 1, 1, 1};
  EXPECT_EQ(options.roundup_power2_divisions, divisions);
}

TEST(AllocatorOptions, TheSegmentSizeBoundsTheOthers) {
  const auto options = parsed("max_split_size_mb:64,large_segment_size_mb:64");
  EXPECT_EQ(options.large_segment_bytes, 64 * kMiB);
  EXPECT_EQ(options.max_non_split_rounding_bytes, 64 * kMiB);
  EXPECT_FALSE(parse_allocator_options("max_split_size_mb:32,large_segment_size_mb:64").ok());
}

TEST(AllocatorOptions, RefusesWhatPyTorchRefuses) {
  for (const char* text :
       {"max_split_size_mb:19", "max_split_size_mb", "max_split_size_mb:", "max_split_size_mb:1x",
        "expandable_segments:yes", "garbage_collection_threshold:1.0", "garbage_collection_threshold:0",
        "roundup_power2_divisions:3", "roundup_power2_divisions:[3:1]", "roundup_power2_divisions:[64:3]",
        "roundup_power2_divisions:[64:8", "large_segment_size_mb:10", "no_such_key:1",
        "expandable_segments:True max_split_size_mb:40", "pinned_x:["}) {
    const auto options = parse_allocator_options(text);
    ASSERT_FALSE(options.ok()) << text;
    EXPECT_EQ(options.error().code, ErrorCode::kUsage) << text;
  }
}

TEST(AllocatorOptions, SaysWhatIsNotModelled) {
  EXPECT_EQ(parse_allocator_options("backend:cudaMallocAsync").error().code, ErrorCode::kIncomplete);
  EXPECT_EQ(parse_allocator_options("throw_on_cudamalloc_oom:True").error().code, ErrorCode::kIncomplete);
}

}  // namespace
}  // namespace vramwise
