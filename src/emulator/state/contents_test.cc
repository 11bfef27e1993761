#include "emulator/state/contents.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace vramwise::emulator {
namespace {

class ContentsTest : public testing::Test {
 protected:
  char* device(Bytes size) {
    return reinterpret_cast<char*>(space_.reserve(size, RegionKind::kDevice, 0, Bytes::mib(2))->base);
  }
  std::vector<char> pattern(std::size_t size) {
    std::vector<char> data(size);
    std::iota(data.begin(), data.end(), 1);
    return data;
  }

  AddressSpace space_;
  Contents contents_{space_};
};

TEST_F(ContentsTest, ThereAndBack) {
  char* memory = device(Bytes::mib(2));
  const auto data = pattern(300'000);
  std::vector<char> back(data.size());
  contents_.copy(memory + 100, data.data(), Bytes(300'000));
  contents_.copy(back.data(), memory + 100, Bytes(300'000));
  EXPECT_EQ(back, data);
  EXPECT_EQ(contents_.counts().reads_by_host, 1);
}

TEST_F(ContentsTest, BetweenDevicePlaces) {
  char* from = device(Bytes::mib(2));
  char* to = device(Bytes::mib(2));
  const auto data = pattern(1000);
  std::vector<char> back(1000);
  contents_.copy(from, data.data(), Bytes(1000));
  contents_.copy(to, from, Bytes(1000));
  contents_.copy(back.data(), to, Bytes(1000));
  EXPECT_EQ(back, data);
}

TEST_F(ContentsTest, UnwrittenMemoryReadsAsZeros) {
  char* memory = device(Bytes::gib(64));
  std::vector<char> back(5000, 'x');
  contents_.copy(back.data(), memory + Bytes::gib(63).count(), Bytes(5000));
  EXPECT_EQ(back, std::vector<char>(5000, 0));
  EXPECT_EQ(space_.resident(), Bytes(0));
}

TEST_F(ContentsTest, ZeroingGivesPagesBackAndKeepsTheNeighbours) {
  char* memory = device(Bytes::mib(4));
  const auto data = pattern(std::size_t{3} << 20);
  contents_.copy(memory, data.data(), Bytes::mib(3));
  EXPECT_EQ(space_.resident(), Bytes::mib(3));
  contents_.fill(memory + 100, 0, 1, (3 << 20) - 200);
  std::vector<char> back(data.size());
  contents_.copy(back.data(), memory, Bytes::mib(3));
  std::vector<char> expected = data;
  std::fill(expected.begin() + 100, expected.end() - 100, 0);
  EXPECT_EQ(back, expected);
  EXPECT_LE(space_.resident(), Bytes::kib(128));
}

TEST_F(ContentsTest, FillsWithWiderPatterns) {
  char* memory = device(Bytes::mib(2));
  contents_.fill(memory, 0x3f800000, 4, 3);  // 1.0F
  float back[4];
  contents_.copy(back, memory, Bytes(16));
  EXPECT_EQ(back[0], 1.0F);
  EXPECT_EQ(back[2], 1.0F);
  EXPECT_EQ(back[3], 0.0F);
}

TEST_F(ContentsTest, BeyondTheBudgetLargeCopiesAreSkippedAndSmallOnesAreNot) {
  space_.set_resident_budget(Bytes::mib(1));
  char* memory = device(Bytes::mib(8));
  const auto large = pattern(std::size_t{4} << 20);
  contents_.copy(memory, large.data(), Bytes::mib(4));
  EXPECT_EQ(contents_.counts().skipped_copies, 1);
  EXPECT_EQ(contents_.counts().skipped_bytes, Bytes::mib(4));
  std::vector<char> back(100);
  contents_.copy(memory, large.data(), Bytes(100));
  contents_.copy(back.data(), memory, Bytes(100));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), large.begin()));
}

TEST_F(ContentsTest, UnknownMemoryReadsAsTheFillAndZeroedMemoryAsZeros) {
  space_.set_fill(0xa5);
  constexpr std::size_t kSize = std::size_t{1} << 20;
  char* memory = device(Bytes::mib(2));
  std::vector<char> expected(kSize, static_cast<char>(0xa5));
  std::vector<char> back(kSize);
  const auto reads = [&] {
    contents_.copy(back.data(), memory, Bytes::mib(1));
    return back == expected;
  };
  EXPECT_TRUE(reads());
  contents_.fill(memory + 1000, 0, 1, 300'000);
  std::fill_n(expected.begin() + 1000, 300'000, '\0');
  EXPECT_TRUE(reads());
  const auto data = pattern(100'000);
  contents_.copy(memory + 250'000, data.data(), Bytes(100'000));
  std::copy(data.begin(), data.end(), expected.begin() + 250'000);
  EXPECT_TRUE(reads());

  char* copied = device(Bytes::mib(2));
  contents_.copy(copied + 7, memory, Bytes::mib(1));
  contents_.copy(back.data(), copied + 7, Bytes::mib(1));
  EXPECT_EQ(back, expected);
  Region& region = *space_.find(reinterpret_cast<std::uintptr_t>(memory));
  space_.forget(region, region.base, Bytes::mib(1));
  std::fill(expected.begin(), expected.end(), static_cast<char>(0xa5));
  EXPECT_TRUE(reads());
}

TEST_F(ContentsTest, ExposedMemoryHoldsInPlaceWhatWasKnownAndTheFill) {
  space_.set_fill(0x11);
  char* memory = device(Bytes::mib(2));
  contents_.fill(memory, 0, 1, 65536);
  contents_.fill(memory + 3 * 65536, 0x22, 1, 100);
  Region& region = *space_.find(reinterpret_cast<std::uintptr_t>(memory));
  ASSERT_TRUE(space_.expose(region, region.base, Bytes::kib(256)));
  EXPECT_EQ(memory[0], 0);
  EXPECT_EQ(memory[65536], 0x11);
  EXPECT_EQ(memory[3 * 65536 + 99], 0x22);
  EXPECT_EQ(memory[3 * 65536 + 100], 0x11);
  memory[70'000] = 5;
  char back = 0;
  contents_.copy(&back, memory + 70'000, Bytes(1));
  EXPECT_EQ(back, 5);
  space_.set_resident_budget(Bytes::kib(256));
  EXPECT_FALSE(space_.expose(region, region.base, Bytes::mib(1)));
  EXPECT_TRUE(space_.any_chunk(region, region.base + 4 * 65536, Bytes(1), {ChunkState::kUnknown}));
}

TEST_F(ContentsTest, CopiesLeaveRoomForWhatIsGivenToTheHost) {
  space_.set_resident_budget(Bytes::mib(1));
  char* memory = device(Bytes::mib(8));
  const auto data = pattern(std::size_t{1} << 20);
  contents_.copy(memory, data.data(), Bytes::mib(1));
  Region& region = *space_.find(reinterpret_cast<std::uintptr_t>(memory));
  EXPECT_TRUE(space_.expose(region, region.base + (std::uintptr_t{2} << 20), Bytes::mib(1)));
  EXPECT_FALSE(space_.expose(region, region.base + (std::uintptr_t{4} << 20), Bytes(1)));
}

TEST_F(ContentsTest, ASkippedCopyLeavesNothingOfWhatWasThere) {
  space_.set_resident_budget(Bytes::mib(1));
  char* memory = device(Bytes::mib(8));
  const auto data = pattern(std::size_t{4} << 20);
  contents_.copy(memory, data.data(), Bytes(1000));
  contents_.copy(memory, data.data() + 5, Bytes::mib(4));
  std::vector<char> back(1000, 'x');
  contents_.copy(back.data(), memory, Bytes(1000));
  EXPECT_EQ(back, std::vector<char>(1000, 0));
  EXPECT_EQ(contents_.counts().skipped_copies, 1);
}

}  // namespace
}  // namespace vramwise::emulator
