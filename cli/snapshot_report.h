// A snapshot's analysis as text for people and as JSON with stable keys.
#pragma once

#include <string>
#include <vector>

#include "allocator/snapshot_analysis.h"
#include "base/json_fwd.h"

namespace vramwise::cli {

struct SnapshotReport {
  std::string file;
  const MemorySnapshot& snapshot;
  std::vector<SnapshotAnalysis> devices;
  std::vector<std::string> notes;
  std::size_t top = 10;  ///< places of the program that are listed
};

/// Ends in a newline.
std::string snapshot_text(const SnapshotReport& report);
Json snapshot_json(const SnapshotReport& report);

}  // namespace vramwise::cli
