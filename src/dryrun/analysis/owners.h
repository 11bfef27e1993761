// What each piece of memory was for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "dryrun/analysis/history.h"

namespace vramwise {

enum class MemoryOwner : std::uint8_t {
  kWeights,  ///< parameters and buffers of modules
  kGradients,
  kOptimizerStates,
  kActivations,    ///< what a forward pass leaves for its backward pass, and what an evaluation keeps
  kInputs,         ///< batches on the card
  kTemporaries,    ///< released in the phase that took it
  kWorkspaces,     ///< cuBLAS's, which PyTorch's allocator holds
  kCommunication,  ///< buckets of DDP, gathered weights of FSDP
  kOther,          ///< lives on, and no module or optimizer has it
};
inline constexpr int kMemoryOwners = 9;

std::string to_string(MemoryOwner owner);

struct OwnedBlock {
  MemoryOwner owner = MemoryOwner::kOther;
  std::int32_t tensor = -1;  ///< index into ObservedRun::tensors: it is that one's memory
};

/// One for each block of the device. `workspaces`: sizes of cuBLAS's.
std::vector<OwnedBlock> find_owners(const DeviceHistory& history, std::int64_t device, const MemoryHistory& all,
                                    const ObservedRun& run, const std::vector<Bytes>& workspaces);

}  // namespace vramwise
