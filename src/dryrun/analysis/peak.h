// The moment in which most memory was allocated on a device: what lay there, and how it came to it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "dryrun/analysis/history.h"
#include "dryrun/analysis/owners.h"

namespace vramwise {

using BytesByOwner = std::array<std::int64_t, kMemoryOwners>;

/// Tensors of one size, for one purpose, from one line, in modules whose names differ by numbers only.
struct PeakTensors {
  MemoryOwner owner = MemoryOwner::kOther;
  std::int64_t count = 0;
  Bytes each;
  std::string name;       ///< of a parameter, or of the module that ran; "layers.*.mlp" for several; may be empty
  std::string line;       ///< where it was asked for, outside of PyTorch; empty: by the autograd engine
  std::string user_line;  ///< the same outside of installed packages
};

struct DevicePeak {
  std::string phase;  ///< empty: outside of the phases that were seen
  std::int64_t step = 0;
  Bytes allocated;  ///< sum of by_owner; what the allocator rounds up is not in it
  BytesByOwner by_owner = {};
  std::vector<PeakTensors> largest;  ///< by their sum, at most ten
  bool history_is_whole = true;      ///< false: it began later than the program
};

/// A point of the way: the largest state of a piece of it.
struct TimelinePoint {
  std::int64_t time_us = 0;
  std::string phase;
  std::int64_t step = 0;
  BytesByOwner by_owner = {};
};

struct DeviceWay {
  DevicePeak peak;
  std::vector<TimelinePoint> timeline;
};

/// `owned` is of find_owners. The timeline has at most `points`.
DeviceWay follow_device(const DeviceHistory& history, const std::vector<OwnedBlock>& owned, const MemoryHistory& all,
                        const ObservedRun& run, std::size_t points = 600);

}  // namespace vramwise
