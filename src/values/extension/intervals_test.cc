#include "values/extension/intervals.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vramwise::values {
namespace {

TEST(Intervals, NeighboursBecomeOne) {
  IntervalSet set;
  set.add({0, 4});
  set.add({8, 12});
  set.add({4, 8});
  EXPECT_EQ(set.intervals(), (std::vector<Interval>{{0, 12}}));
}

TEST(Intervals, AHoleSplits) {
  IntervalSet set;
  set.add({0, 12});
  set.remove({4, 8});
  EXPECT_EQ(set.intervals(), (std::vector<Interval>{{0, 4}, {8, 12}}));
  EXPECT_TRUE(set.contains({0, 4}));
  EXPECT_FALSE(set.contains({3, 5}));
  EXPECT_TRUE(set.touches({3, 5}));
  EXPECT_FALSE(set.touches({4, 8}));
}

TEST(Intervals, NothingIsContainedAndTouchesNothing) {
  IntervalSet set;
  EXPECT_TRUE(set.contains({5, 5}));
  EXPECT_FALSE(set.touches({5, 5}));
  set.add({5, 5});
  EXPECT_TRUE(set.empty());
}

TEST(Intervals, AgreeWithOneFlagAByte) {
  constexpr int kBytes = 40;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<bool> flags(kBytes, false);
    IntervalSet set;
    for (int step = 0; step < 30; ++step) {
      const auto begin = static_cast<std::int64_t>(random() % kBytes);
      const auto end = begin + static_cast<std::int64_t>(random() % (kBytes - begin + 1));
      const bool adds = random() % 2 == 0;
      if (adds) {
        set.add({begin, end});
      } else {
        set.remove({begin, end});
      }
      for (auto i = begin; i < end; ++i) flags[static_cast<std::size_t>(i)] = adds;
      const auto from = static_cast<std::int64_t>(random() % kBytes);
      const auto to = from + static_cast<std::int64_t>(random() % (kBytes - from + 1));
      bool all = true;
      bool any = false;
      for (auto i = from; i < to; ++i) {
        all = all && flags[static_cast<std::size_t>(i)];
        any = any || flags[static_cast<std::size_t>(i)];
      }
      ASSERT_EQ(set.contains({from, to}), all) << "seed " << seed << " step " << step;
      ASSERT_EQ(set.touches({from, to}), any) << "seed " << seed << " step " << step;
    }
    for (std::size_t i = 1; i < set.intervals().size(); ++i) {
      ASSERT_LT(set.intervals()[i - 1].end, set.intervals()[i].begin) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace vramwise::values
