// Snapshots of PyTorch's CUDA memory: what torch.cuda.memory._dump_snapshot() writes as a pickle, or the same as JSON.
//
// Nothing in a file is run: a pickle that holds anything but plain data is an error (base/pickle.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "allocator/options.h"
#include "base/result.h"

namespace vramwise {

struct SnapshotFrame {
  std::string function;
  std::string file;
  std::int64_t line = 0;

  bool operator==(const SnapshotFrame&) const = default;
};

/// Index into MemorySnapshot::stacks; 0 is the empty stack.
using StackIndex = std::uint32_t;

struct SnapshotBlock {
  enum class State { kAllocated, kPendingFree, kFree };

  std::int64_t address = 0;
  std::int64_t size = 0;       ///< bytes
  std::int64_t requested = 0;  ///< bytes before rounding
  State state = State::kFree;
  StackIndex stack = 0;  ///< of its allocation
};

struct SnapshotSegment {
  std::int64_t device = 0;
  std::int64_t address = 0;
  std::int64_t size = 0;
  std::int64_t stream = 0;  ///< CUDA's handle
  bool is_small = false;
  bool is_expandable = false;
  bool is_private = false;  ///< of a private pool (CUDA graphs, torch.cuda.MemPool)
  StackIndex stack = 0;
  std::vector<SnapshotBlock> blocks;
};

enum class TraceAction {
  kAllocate,
  kFreeRequested,
  kFreeCompleted,
  kSegmentAllocate,
  kSegmentFree,
  kSegmentMap,
  kSegmentUnmap,
  kSnapshot,
  kOutOfMemory,
  kOther,
};

struct TraceEntry {
  TraceAction action = TraceAction::kOther;
  std::int64_t address = 0;  ///< kOutOfMemory: the bytes that were free on the device
  std::int64_t size = 0;     ///< as asked for; of segments as they are
  std::int64_t stream = 0;
  std::int64_t time_us = 0;  ///< since 1970; 0: not recorded
  StackIndex stack = 0;
  bool is_private = false;
};

struct MemorySnapshot {
  std::vector<SnapshotFrame> frames;
  std::vector<std::vector<std::uint32_t>> stacks{1};  ///< innermost frame first
  std::vector<SnapshotSegment> segments;
  std::vector<std::vector<TraceEntry>> traces;  ///< by device; empty where no history was recorded
  AllocatorOptions options;                     ///< as far as the snapshot says
  std::string options_text;                     ///< PYTORCH_ALLOC_CONF of the recorded process
  std::vector<std::string> notes;               ///< what could not be read as it should, for people
};

/// Reads a snapshot; `where` (a file name) begins the message of an error. `bytes` need not outlive it.
/// Errors: neither JSON nor a pickle of plain data; not a snapshot; sizes or counts that no card has.
Result<MemorySnapshot> read_snapshot(std::string_view bytes, const std::string& where);

/// What pytorch.org/memory_viz and read_snapshot read.
std::string snapshot_as_pickle(const MemorySnapshot& snapshot);
std::string snapshot_as_json(const MemorySnapshot& snapshot);

}  // namespace vramwise
