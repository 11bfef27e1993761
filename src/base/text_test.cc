#include "base/text.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

TEST(Text, SplitsAndTrims) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string>{""}));
  EXPECT_EQ(trim("  x y\n"), "x y");
  EXPECT_EQ(trim(" \t"), "");
}

TEST(Text, EditDistanceCountsASwapOnce) {
  EXPECT_EQ(edit_distance("vram", "vram"), 0u);
  EXPECT_EQ(edit_distance("vrma", "vram"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

TEST(Text, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> sizes = {"tiny", "small", "medium", "large"};
  EXPECT_EQ(closest_match("medum", sizes), "medium");
  EXPECT_EQ(closest_match("LARGE", sizes), "large");
  EXPECT_EQ(closest_match("enormous", sizes), std::nullopt);
}

}  // namespace
}  // namespace vramwise
