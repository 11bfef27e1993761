// SegmentSink: hears of the calls that the caching allocator makes to the driver.
#pragma once

#include <cstdint>

#include "allocator/event.h"

namespace vramwise {

enum class SegmentAction { kAllocate, kFree, kMap, kUnmap };

class SegmentSink {
 public:
  SegmentSink() = default;
  SegmentSink(const SegmentSink&) = delete;
  SegmentSink& operator=(const SegmentSink&) = delete;
  virtual ~SegmentSink() = default;

  virtual void segment_changed(SegmentAction action, std::int64_t address, std::int64_t bytes, StreamIndex stream) = 0;
};

}  // namespace vramwise
