// PyTorch's memory history as a list of events, and what our hook saw of the program meanwhile.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json_fwd.h"
#include "base/plain_data.h"
#include "base/result.h"

namespace vramwise {

/// Where in the program's source an allocation was asked for.
struct SourcePlace {
  std::string line;         ///< "train.py:12": the innermost one outside of PyTorch; empty: none (the autograd engine)
  std::string user_line;    ///< the innermost one outside of all installed packages; may be the same
  std::string function;     ///< in which `line` is
  bool recomputes = false;  ///< below torch.utils.checkpoint
  bool communicates = false;  ///< taken by PyTorch's data parallelism (FSDP, DDP), not by a module that it calls
};

/// A piece of memory from its allocation to its release. Times are microseconds since 1970.
struct HistoryBlock {
  static constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

  std::int64_t address = 0;
  std::int64_t bytes = 0;                                            ///< rounded to the allocator's 512
  std::int64_t begin_us = std::numeric_limits<std::int64_t>::min();  ///< that: before the history began
  std::int64_t end_us = kForever;
  std::int64_t first_event = 0;  ///< its own, counted over the device's events
  std::int64_t last_event = kForever;
  std::uint32_t place = 0;
};

struct DeviceHistory {
  std::vector<HistoryBlock> blocks;  ///< by first_event
  std::int64_t events = 0;
};

struct MemoryHistory {
  std::vector<DeviceHistory> devices;
  std::vector<SourcePlace> places;  ///< [0] is "none"
};

/// Reads what torch.cuda.memory._snapshot() returns. Events that were dropped because the history was full leave blocks
/// that begin before it. Errors: not of that shape.
Result<MemoryHistory> read_memory_history(const PlainData& snapshot);

/// A stretch of one phase.
struct PhaseStretch {
  std::string name;
  std::int64_t step = 0;
  std::int64_t begin_us = 0;
  std::int64_t end_us = 0;
};

/// A tensor whose owner was seen at some time.
struct KnownTensor {
  std::int64_t device = 0;
  std::int64_t address = 0;
  std::int64_t bytes = 0;
  std::string kind;  ///< "weights", "gradients", "optimizer states"
  std::string name;
  std::int64_t seen_us = 0;
};

/// From `time_us` on, module number `module` runs (-1: none).
struct ModuleCall {
  std::int64_t time_us = 0;
  std::int64_t module = -1;
};

struct ObservedRun {
  std::vector<PhaseStretch> stretches;  ///< in order
  std::vector<std::string> modules;
  std::vector<ModuleCall> calls;  ///< in order
  std::vector<KnownTensor> tensors;

  /// The stretch that holds the time; nullptr before the first and after the last.
  const PhaseStretch* stretch_at(std::int64_t time_us) const;
  /// The number of the module that runs at that time, -1 for none.
  std::int64_t module_at(std::int64_t time_us) const;
};

/// Reads of torch.PID.json what was seen of the training on one device: threads that trained on cards of their own have
/// stretches and calls of their own. Errors: a key is missing or of another type.
Result<ObservedRun> read_observed_run(const Json& json, std::int64_t device);

}  // namespace vramwise
