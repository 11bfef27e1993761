// MemoryProbe: what the run takes on each of its devices, against what was predicted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "run/run_spec.h"

namespace vramwise {

struct MemoryReading {
  std::string device;                ///< "cpu" or "cuda:N"
  std::optional<Bytes> now;          ///< beyond what was taken before the model was built
  std::optional<Bytes> peak;         ///< as now, the most since then
  Bytes predicted_peak;              ///< of the plan
  std::optional<Bytes> before = {};  ///< what was taken before the model was built
};

Json to_json(const MemoryReading& memory);

/// The lines of /proc/self/status that tell about memory; nullopt where the system has none.
struct ProcessMemory {
  Bytes anonymous;  ///< resident pages that no file stands behind
  Bytes file;       ///< resident pages of files: libraries, data, offloaded states
  Bytes peak;       ///< the most that was resident at once, both kinds together
};
std::optional<ProcessMemory> process_memory();

/// CUDA: what PyTorch's caching allocator holds (reserved). CPU: growth of the process's anonymous resident memory; its
/// peak is the peak of all resident memory less the files' part, so it errs by what the files' part changed meanwhile.
class MemoryProbe {
 public:
  /// Takes the baseline: build it after the libraries and data were loaded, and before the model.
  explicit MemoryProbe(const std::vector<ReplicaSpec>& replicas);

  /// One entry a device, in the order of the replicas; replicas on one device share an entry.
  std::vector<MemoryReading> read() const;

 private:
  std::vector<MemoryReading> devices_;  ///< with what was taken before in `now`
};

}  // namespace vramwise
