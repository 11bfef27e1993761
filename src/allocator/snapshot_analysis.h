// What a snapshot of a device tells: its peak and what was alive at it, how fragmented it was, and what other settings
// of the allocator, or another card, would have made of the same allocations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "allocator/replay.h"
#include "allocator/snapshot.h"
#include "allocator/trace_events.h"
#include "base/result.h"

namespace vramwise {

/// The device at the moment of the snapshot, as PyTorch told it.
struct SnapshotState {
  std::int64_t allocated_bytes = 0;
  std::int64_t pending_free_bytes = 0;  ///< freed, still in use by another stream
  std::int64_t reserved_bytes = 0;
  std::int64_t largest_free_bytes = 0;  ///< the largest block that could be handed out
  std::int64_t releasable_bytes = 0;    ///< segments without anything in them: what empty_cache() would give back
  std::int64_t segments = 0;

  std::int64_t free_bytes() const { return reserved_bytes - allocated_bytes - pending_free_bytes; }
};

/// Blocks that were allocated at the same place of the program (telling_frame).
struct StackUse {
  StackIndex stack = 0;    ///< of the first of them
  std::int64_t bytes = 0;  ///< as asked for
  std::int64_t blocks = 0;
  std::int64_t before_history = 0;  ///< how many of the blocks were there when the recording began
};

struct WhatIf {
  std::string name;  ///< "expandable_segments:True", "rtx-3060", …
  AllocatorOptions options;
  DeviceMemoryLimits limits;
  Replay replay;
};

/// A card to try.
struct WhatIfCard {
  std::string name;
  DeviceMemoryLimits limits;
};

struct SnapshotAnalysis {
  std::int64_t device = 0;
  SnapshotState state;
  bool has_history = false;  ///< what is below is empty without it
  TracedEvents traced;
  std::size_t entries = 0;
  std::optional<TraceEntry> first_out_of_memory;  ///< that the program met
  Replay recorded;                                ///< with the settings of the recorded process, on a card without end
  std::vector<StackUse> at_peak;                  ///< of `recorded`, the most bytes first
  std::vector<WhatIf> what_if;
};

/// Devices that have segments or a history, ascending.
std::vector<std::size_t> devices_of(const MemorySnapshot& snapshot);

/// `card`, where given, is tried with the recorded settings and with expandable segments. Errors: as events_of_trace.
Result<SnapshotAnalysis> analyze_snapshot(const MemorySnapshot& snapshot, std::size_t device,
                                          const std::optional<WhatIfCard>& card = std::nullopt);

/// The frame that a person would look for: the innermost one of Python code outside PyTorch; else of Python code; else
/// that of C++ that is past the allocating itself. nullptr: no stack was recorded.
const SnapshotFrame* telling_frame(const MemorySnapshot& snapshot, StackIndex stack);

}  // namespace vramwise
