#include "tape/tape.h"

#include <gtest/gtest.h>

#include <vector>

namespace vramwise::tape {
namespace {

// Accumulation repeats a pass thousands of times.
TEST(Tape, ManyRepeatsSeldomMoveTheEvents) {
  Tape tape(Hardware::of(86, 82));
  tape.empty({64}, DType::kFloat32).reset();
  constexpr std::size_t kEvents = 2;
  ASSERT_EQ(tape.events().size(), kEvents);
  std::vector<AllocationId> names(tape.id_count());
  int moves = 0;
  for (int i = 0; i < 1000; ++i) {
    const AllocationEvent* const before = tape.events().data();
    tape.repeat_events(0, kEvents, names);
    moves += tape.events().data() != before ? 1 : 0;
  }
  EXPECT_EQ(tape.events().size(), 1001 * kEvents);
  EXPECT_LT(moves, 20);
}

}  // namespace
}  // namespace vramwise::tape
