// What tests of the replay share.
#pragma once

#include <gtest/gtest.h>

#include "allocator/replay.h"

namespace vramwise {

inline void expect_same(const ReplayPhase& a, const ReplayPhase& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.first_event, b.first_event);
  EXPECT_EQ(a.allocated_bytes, b.allocated_bytes);
  EXPECT_EQ(a.reserved_bytes, b.reserved_bytes);
}

/// All that two replays tell but their counters at the end.
inline void expect_same(const Replay& a, const Replay& b) {
  EXPECT_EQ(a.allocated.bytes, b.allocated.bytes);
  EXPECT_EQ(a.allocated.event, b.allocated.event);
  EXPECT_EQ(a.reserved.bytes, b.reserved.bytes);
  EXPECT_EQ(a.reserved.event, b.reserved.event);
  EXPECT_EQ(a.allocated_at_reserved_peak, b.allocated_at_reserved_peak);
  ASSERT_EQ(a.fits(), b.fits());
  if (!a.fits()) {
    EXPECT_EQ(a.out_of_memory->event, b.out_of_memory->event);
    EXPECT_EQ(a.out_of_memory->missing_bytes, b.out_of_memory->missing_bytes);
  }
  ASSERT_EQ(a.phases.size(), b.phases.size());
  for (std::size_t i = 0; i < a.phases.size(); ++i) {
    SCOPED_TRACE(i);
    expect_same(a.phases[i], b.phases[i]);
  }
}

}  // namespace vramwise
