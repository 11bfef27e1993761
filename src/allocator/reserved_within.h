// Whether a list of events stays within so much reserved memory: a replay that ends as soon as it doesn't.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "allocator/event.h"
#include "allocator/event_repeat.h"
#include "allocator/options.h"

namespace vramwise {

/// The peak of what the allocator reserves on a card without end; none where that is more than `most`, or than
/// such a card counts (DeviceMemoryLimits::kUnlimited). `repeat`: as for replay(), but what it
/// tells of may be left out of the list.
std::optional<std::int64_t> reserved_within(std::span<const AllocationEvent> events, const AllocatorOptions& options,
                                            std::int64_t most, const EventRepeat& repeat = {});

/// The peak of live allocations in the allocator's least granules. It never reserves less, whatever its options, and
/// this is some twenty times as fast as a replay.
std::int64_t least_reserved(std::span<const AllocationEvent> events);

}  // namespace vramwise
