#include "values/trace.h"

#include <gtest/gtest.h>

namespace vramwise::values {
namespace {

const std::string kLines = "vramwise-trace 1\nline\t0\ttrain.py\t12\tstep\nline\t1\tmodel.py\t7\tforward\n";

Trace trace_of(const std::string& events) {
  auto trace = parse_trace(kLines + events, "test");
  EXPECT_TRUE(trace.ok()) << (trace.ok() ? "" : trace.error().what);
  return trace.ok() ? *trace : Trace{};
}

TEST(Trace, EqualRunsDoNotDiffer) {
  const std::string events = "event\t0\talloc\t512\t0\nevent\t1\talloc\t1024\t-\nevent\t0\tfree_requested\t512\t1\n";
  EXPECT_EQ(first_difference(trace_of(events), trace_of(events)), std::nullopt);
}

TEST(Trace, TheFirstDifferenceNamesItsLine) {
  const auto difference = first_difference(trace_of("event\t0\talloc\t512\t0\nevent\t0\talloc\t512\t1\n"),
                                           trace_of("event\t0\talloc\t512\t0\nevent\t0\talloc\t2048\t1\n"));
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->position, 1);
  EXPECT_EQ(difference->first.size, Bytes(512));
  EXPECT_EQ(difference->second.size, Bytes(2048));
  EXPECT_EQ(
      describe(*difference),
      "what is allocated on GPU 0 hangs on values that a dry run does not compute: model.py:7 (forward); alloc of "
      "512 bytes in one run, alloc of 2048 bytes in the other");
}

TEST(Trace, ARunThatEndsEarlierDiffers) {
  const auto difference = first_difference(trace_of("event\t1\talloc\t512\t0\n"), trace_of(""));
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->device, 1);
  EXPECT_EQ(difference->second.action, "");
}

TEST(Trace, TheOrderBetweenDevicesDoesNotMatter) {
  EXPECT_EQ(first_difference(trace_of("event\t0\talloc\t512\t0\nevent\t1\talloc\t1024\t0\n"),
                             trace_of("event\t1\talloc\t1024\t0\nevent\t0\talloc\t512\t0\n")),
            std::nullopt);
}

TEST(Trace, TheOrderOfReleasesMattersOnlyBetweenAllocations) {
  const std::string small = "event\t0\tfree_requested\t512\t0\n", large = "event\t0\tfree_requested\t1024\t0\n";
  const std::string taken = "event\t0\talloc\t512\t0\n";
  EXPECT_EQ(first_difference(trace_of(small + large + taken), trace_of(large + small + taken)), std::nullopt);
  EXPECT_NE(first_difference(trace_of(small + taken + large), trace_of(large + taken + small)), std::nullopt);
}

TEST(Trace, WhatIsNoTraceIsRefused) {
  for (const std::string text : {"", "hello\n", "vramwise-trace 1\nevent\t0\talloc\n",
                                 "vramwise-trace 1\nevent\t0\talloc\t512\t3\n", "vramwise-trace 1\nother\n"}) {
    EXPECT_FALSE(parse_trace(text, "test").ok()) << text;
  }
}

}  // namespace
}  // namespace vramwise::values
