// Any bytes as a memory snapshot: read, analysed, and written back must be read as the same again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "allocator/snapshot.h"
#include "allocator/snapshot_analysis.h"

namespace vramwise {
namespace {

void try_snapshot(std::string_view bytes) {
  const auto snapshot = read_snapshot(bytes, "input");
  if (!snapshot.ok()) return;
  for (const std::size_t device : devices_of(*snapshot)) {
    const WhatIfCard card{.name = "card", .limits = {.total_bytes = std::int64_t{8} << 30, .taken_bytes = 1 << 28}};
    const auto analysis = analyze_snapshot(*snapshot, device, card);
    if (analysis.ok() && analysis->recorded.allocated.bytes < 0) std::abort();
  }
  const std::string json = snapshot_as_json(*snapshot);
  const auto from_json = read_snapshot(json, "json");
  if (!from_json.ok() || snapshot_as_json(*from_json) != json) std::abort();
  const auto from_pickle = read_snapshot(snapshot_as_pickle(*snapshot), "pickle");
  if (!from_pickle.ok() || snapshot_as_json(*from_pickle) != json) std::abort();
}

}  // namespace
}  // namespace vramwise

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vramwise::try_snapshot({reinterpret_cast<const char*>(data), size});
  return 0;
}
