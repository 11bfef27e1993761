#include "train/block_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace vramwise {
namespace {

constexpr std::size_t kMib = std::size_t{1} << 20;

TEST(BlockStore, UsesABlockOfTheSameSizeAgain) {
  BlockStore store;
  void* const first = store.take(3 * kMib - 100);
  std::memset(first, 1, 3 * kMib - 100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % (2 * kMib), 0U);
  EXPECT_TRUE(store.give_back(first));
  EXPECT_EQ(store.counts().kept_bytes, static_cast<std::int64_t>(3 * kMib));
  EXPECT_EQ(store.take(3 * kMib), first);
  EXPECT_EQ(store.counts().mapped, 1);
  EXPECT_EQ(store.counts().kept_bytes, 0);
}

TEST(BlockStore, KnowsItsBlocks) {
  BlockStore store;
  int elsewhere = 0;
  EXPECT_FALSE(store.give_back(&elsewhere));
  void* const block = store.take(kMib);
  EXPECT_TRUE(store.give_back(block));
  EXPECT_FALSE(store.give_back(block));
}

TEST(BlockStore, TheOldestGoesWhenAnotherSizeIsWanted) {
  BlockStore store;
  void* const a = store.take(4 * kMib);
  void* const b = store.take(6 * kMib);
  store.give_back(a);
  store.give_back(b);
  // 10 MiB were in use at once. 5 MiB more than the kept 10 are too many: the older block goes, and that isn't enough,
  // so both do.
  void* const c = store.take(5 * kMib);
  EXPECT_EQ(store.counts().kept_bytes, 0);
  store.give_back(c);
  void* const d = store.take(2 * kMib);
  EXPECT_EQ(store.counts().kept_bytes, static_cast<std::int64_t>(5 * kMib));
  EXPECT_EQ(store.take(5 * kMib), c);
  EXPECT_EQ(store.counts().most_in_use_bytes, static_cast<std::int64_t>(10 * kMib));
  store.give_back(d);
}

// Random sizes in a random order, contents checked: blocks never overlap, and never more is held than was in use at
// once.
TEST(BlockStore, HoldsNoMoreThanWasInUse) {
  constexpr unsigned kSeed = 4;
  std::mt19937 random(kSeed);
  BlockStore store;
  struct Held {
    unsigned char* data;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<Held> held;
  for (int i = 0; i < 3000; ++i) {
    if (held.empty() || (held.size() < 12 && random() % 2 == 0)) {
      const std::size_t bytes = (1 + random() % 8) * 64 * 1024 + random() % 3;
      auto* const data = static_cast<unsigned char*>(store.take(bytes));
      ASSERT_NE(data, nullptr);
      const auto mark = static_cast<unsigned char>(i);
      data[0] = data[bytes / 2] = data[bytes - 1] = mark;
      held.push_back({data, bytes, mark});
    } else {
      const std::size_t which = random() % held.size();
      const Held block = held[which];
      ASSERT_EQ(block.data[0], block.mark) << "seed " << kSeed;
      ASSERT_EQ(block.data[block.bytes / 2], block.mark);
      ASSERT_EQ(block.data[block.bytes - 1], block.mark);
      ASSERT_TRUE(store.give_back(block.data));
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
    const BlockStore::Counts counts = store.counts();
    ASSERT_LE(counts.in_use_bytes + counts.kept_bytes, counts.most_in_use_bytes);
  }
  EXPECT_LT(store.counts().mapped, 1500);
  for (const Held& block : held) store.give_back(block.data);
}

TEST(BlockStore, TooMuchIsRefused) {
  BlockStore store;
  void* const kept = store.take(kMib);
  store.give_back(kept);
  EXPECT_EQ(store.take(std::size_t{1} << 60), nullptr);
  EXPECT_EQ(store.counts().in_use_bytes, 0);
}

// The same step again hardly asks the system for anything.
TEST(BlockStore, ARepeatedStepMapsLittle) {
  BlockStore store;
  const auto step = [&] {
    std::vector<void*> saved;
    for (int layer = 0; layer < 6; ++layer) {
      void* const temporary = store.take(3 * kMib);
      saved.push_back(store.take(2 * kMib));
      saved.push_back(store.take(5 * kMib));
      store.give_back(temporary);
    }
    for (; !saved.empty(); saved.pop_back()) {
      void* const gradient = store.take(4 * kMib);
      store.give_back(saved.back());
      store.give_back(gradient);
    }
  };
  step();
  const std::int64_t first = store.counts().mapped;
  EXPECT_GE(first, 12);
  constexpr int kMore = 10;
  for (int i = 0; i < kMore; ++i) step();
  EXPECT_LE(store.counts().mapped - first, kMore * first / 3);
}

}  // namespace
}  // namespace vramwise
