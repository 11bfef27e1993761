#include "allocator/free_list.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

namespace vramwise {
namespace {

using Key = std::tuple<std::int64_t, std::int64_t, BlockIndex>;

std::vector<Key> forwards(const FreeList& list) {
  std::vector<Key> keys;
  for (auto cursor = list.first(); cursor.valid(); cursor = list.next(cursor)) {
    const auto& entry = list.at(cursor);
    keys.emplace_back(entry.size, entry.order, entry.block);
  }
  return keys;
}

std::vector<Key> backwards(const FreeList& list) {
  std::vector<Key> keys;
  for (auto cursor = list.last(); cursor.valid(); cursor = list.previous(cursor)) {
    const auto& entry = list.at(cursor);
    keys.emplace_back(entry.size, entry.order, entry.block);
  }
  return {keys.rbegin(), keys.rend()};
}

TEST(FreeList, EmptyHasNoPlaces) {
  const FreeList list;
  EXPECT_TRUE(list.empty());
  EXPECT_FALSE(list.first().valid());
  EXPECT_FALSE(list.last().valid());
  EXPECT_FALSE(list.lower_bound(512).valid());
}

TEST(FreeList, IsAnOrderedSet) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  FreeList list;
  std::set<Key> oracle;
  const auto size = [&] {
    return 512 + static_cast<std::int64_t>((random() >> (random() % 64)) % (1LL << 45)) / 512 * 512;
  };
  int taken_exactly = 0;
  for (int round = 0; round < 4000; ++round) {
    if (oracle.size() < 200 && random() % 3 != 0) {
      // Often a size that is here already: then the order decides.
      const std::int64_t bytes = oracle.empty() || random() % 2 == 0 ? size() : std::get<0>(*oracle.begin());
      const auto order = static_cast<std::int64_t>(random() % 100000) * 512;
      const auto block = static_cast<BlockIndex>(round);
      if (oracle.lower_bound({bytes, order, 0}) != oracle.upper_bound({bytes, order, kNoBlock})) continue;
      oracle.emplace(bytes, order, block);
      list.insert({.size = bytes, .order = order, .block = block});
    } else if (!oracle.empty() && random() % 4 == 0) {
      const std::int64_t bytes =
          std::get<0>(*std::next(oracle.begin(), static_cast<std::ptrdiff_t>(random() % oracle.size())));
      const auto first = oracle.lower_bound({bytes, 0, 0});
      if (const BlockIndex taken = list.take_exact(bytes); taken != kNoBlock) {
        ASSERT_EQ(taken, std::get<2>(*first)) << "round " << round;
        oracle.erase(first);
        ++taken_exactly;
      }
    } else if (!oracle.empty()) {
      const auto gone = std::next(oracle.begin(), static_cast<std::ptrdiff_t>(random() % oracle.size()));
      list.erase(std::get<0>(*gone), std::get<1>(*gone));
      oracle.erase(gone);
    }
    const std::int64_t wanted = size();
    const auto expected = oracle.lower_bound({wanted, 0, 0});
    const auto found = list.lower_bound(wanted);
    ASSERT_EQ(found.valid(), expected != oracle.end()) << "round " << round;
    if (found.valid()) {
      ASSERT_EQ(list.at(found).block, std::get<2>(*expected)) << "round " << round;
    }
    if (round % 50 == 0) {
      const std::vector<Key> keys(oracle.begin(), oracle.end());
      ASSERT_EQ(forwards(list), keys);
      ASSERT_EQ(backwards(list), keys);
    }
  }
  EXPECT_GT(taken_exactly, 50);
}

}  // namespace
}  // namespace vramwise
