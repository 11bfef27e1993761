#include "emulator/state/memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace vramwise::emulator {
namespace {

std::vector<CardSpec> cards(std::initializer_list<Bytes> totals) {
  std::vector<CardSpec> specs;
  for (const Bytes total : totals) {
    specs.emplace_back().total = total;
  }
  return specs;
}

TEST(Memory, AnEmptyCardIsWholeAgainAfterAnyOrderOfFrees) {
  Memory memory(cards({Bytes::gib(8)}), {}, Bytes::mib(1));
  std::mt19937 random(7);  // seed
  std::vector<void*> blocks;
  for (int i = 0; i < 500; ++i) {
    if (blocks.empty() || random() % 3 != 0) {
      void* block = memory.allocate(0, Bytes(1 + random() % (16 << 20)), {});
      ASSERT_NE(block, nullptr);
      blocks.push_back(block);
    } else {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      ASSERT_TRUE(memory.free(blocks.back()));
      blocks.pop_back();
    }
  }
  for (void* block : blocks) ASSERT_TRUE(memory.free(block));
  EXPECT_EQ(memory.ledger(0).live(), Bytes(0));
}

TEST(Memory, SmallBlocksShareAGranule) {
  Memory memory(cards({Bytes::gib(1)}), {}, Bytes::mib(1));
  auto* first = static_cast<char*>(memory.allocate(0, Bytes(100), {}));
  auto* second = static_cast<char*>(memory.allocate(0, Bytes(1000), {}));
  EXPECT_EQ(memory.ledger(0).live(), kGranule);
  EXPECT_EQ(second - first, 512);
  EXPECT_TRUE(memory.free(first));
  EXPECT_EQ(memory.allocate(0, Bytes(300), {}), first) << "the gap is used again";
  EXPECT_FALSE(memory.free(first + 8));
}

TEST(Memory, AddressesAreTheSameInEveryRun) {
  const auto run = [] {
    Memory memory(cards({Bytes::gib(80)}), {}, Bytes::mib(1));
    std::vector<void*> seen;
    for (int i = 1; i <= 20; ++i) seen.push_back(memory.allocate(0, Bytes::mib(20 * i), {}));
    for (int i = 0; i < 20; i += 2) memory.free(seen[static_cast<std::size_t>(i)]);
    for (int i = 1; i <= 20; ++i) seen.push_back(memory.allocate(0, Bytes::mib(30 * i), {}));
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (i >= 20 || i % 2 == 1) memory.free(seen[i]);
    }
    return seen;
  };
  EXPECT_EQ(run(), run());
}

TEST(Memory, FreshBlocksAreZeroEvenAtAUsedAddress) {
  Memory memory(cards({Bytes::gib(1)}), {}, Bytes::mib(1));
  auto* block = static_cast<char*>(memory.allocate(0, Bytes::mib(4), {}));
  std::memset(block, 1, 4096);
  memory.free(block);
  auto* again = static_cast<char*>(memory.allocate(0, Bytes::mib(4), {}));
  EXPECT_EQ(again, block);
  EXPECT_EQ(again[0], 0);
}

TEST(Memory, CardsAreSeparateAndUnequal) {
  Memory memory(cards({Bytes::mib(10), Bytes::mib(100)}), {}, Bytes::mib(1));
  EXPECT_EQ(memory.allocate(0, Bytes::mib(50), {}), nullptr);
  void* block = memory.allocate(1, Bytes::mib(50), {});
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(memory.space().find(reinterpret_cast<std::uintptr_t>(block))->device, 1);
  EXPECT_EQ(memory.ledger(0).live(), Bytes(0));
}

TEST(Memory, MappedMemoryIsTakenWhenItIsMade) {
  Memory memory(cards({Bytes::mib(64)}), {}, Bytes::mib(1));
  const auto base = memory.space().reserve(Bytes::gib(1), RegionKind::kReserved, 0, kGranule)->base;
  PhysicalMemory* physical = memory.create_physical(0, Bytes::mib(20), false, {});
  ASSERT_NE(physical, nullptr);
  EXPECT_EQ(memory.ledger(0).live(), Bytes::mib(20));
  EXPECT_TRUE(memory.map(base, physical, Bytes::mib(20)));
  EXPECT_FALSE(memory.map(base + (2 << 20), physical, Bytes::mib(2))) << "something is mapped there";
  memory.release_physical(physical);
  EXPECT_EQ(memory.ledger(0).live(), Bytes::mib(20)) << "the mapping holds it";
  EXPECT_TRUE(memory.unmap(base, Bytes::mib(20)));
  EXPECT_EQ(memory.ledger(0).live(), Bytes(0));
  EXPECT_EQ(memory.create_physical(0, Bytes::mib(66), false, {}), nullptr);
}

TEST(Memory, PinnedMemoryHasItsOwnLedger) {
  Memory memory(cards({Bytes::mib(10)}), {}, Bytes::mib(1));
  void* block = memory.allocate_pinned(Bytes::mib(30), RegionKind::kPinned, 0);
  ASSERT_NE(block, nullptr);
  std::vector<char> own(10'000);
  EXPECT_TRUE(memory.register_pinned(own.data(), Bytes(10'000)));
  EXPECT_EQ(memory.pinned().live, Bytes::mib(30) + Bytes(10'000));
  EXPECT_TRUE(memory.free_pinned(own.data()));
  EXPECT_TRUE(memory.free_pinned(block));
  EXPECT_EQ(memory.pinned().live, Bytes(0));
  EXPECT_EQ(memory.pinned().peak, Bytes::mib(30) + Bytes(10'000));
  EXPECT_EQ(memory.ledger(0).peak(), Bytes(0));
}

TEST(Memory, InjectedFaults) {
  Memory third(cards({Bytes::gib(1)}), {.fail_allocation = 3, .other_grows_at = 0, .other_grows_by = Bytes(0)},
               Bytes::mib(1));
  EXPECT_NE(third.allocate(0, Bytes::mib(2), {}), nullptr);
  EXPECT_NE(third.allocate(0, Bytes::mib(2), {}), nullptr);
  EXPECT_EQ(third.allocate(0, Bytes::mib(2), {}), nullptr);
  EXPECT_NE(third.allocate(0, Bytes::mib(2), {}), nullptr);
  EXPECT_EQ(third.ledger(0).out_of_memory_events().size(), 1U);

  Memory shrinking(cards({Bytes::gib(1)}),
                   {.fail_allocation = 0, .other_grows_at = 2, .other_grows_by = Bytes::mib(1000)}, Bytes::mib(1));
  EXPECT_NE(shrinking.allocate(0, Bytes::mib(100), {}), nullptr);
  EXPECT_EQ(shrinking.allocate(0, Bytes::mib(100), {}), nullptr);
}

TEST(Memory, RandomFaultsAreThoseOfTheSeed) {
  const auto failures = [](std::uint64_t seed) {
    Faults faults;
    faults.fail_probability = 0.25;
    faults.seed = seed;
    Memory memory(cards({Bytes::gib(100)}), faults, Bytes::mib(1));
    std::vector<int> failed;
    for (int i = 0; i < 400; ++i) {
      if (memory.allocate(0, Bytes::mib(2), {}) == nullptr) failed.push_back(i);
    }
    return failed;
  };
  EXPECT_EQ(failures(7), failures(7));
  EXPECT_NE(failures(7), failures(8));
  EXPECT_NEAR(static_cast<double>(failures(7).size()), 100, 30);
}

}  // namespace
}  // namespace vramwise::emulator
