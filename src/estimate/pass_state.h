// What a forward and backward pass finds: parameters and their gradients, and memory of the host. Where two passes find
// the same, the later one does what the earlier one did. Of an optimizer's states a pass knows nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise {

class PassState {
 public:
  explicit PassState(const tape::Tape& tape)
      : pinned_memory_(tape.pinned_memory()), workspaces_(tape.cublas_workspaces()) {}

  void add(std::span<const tape::Tensor> parameters);
  bool operator==(const PassState& other) const;

 private:
  void add(const tape::TensorData& tensor);

  tape::PinnedMemory pinned_memory_;
  std::vector<AllocationId> workspaces_;
  std::vector<std::int64_t> numbers_;  ///< of each tensor all that an op can see or hang on
};

}  // namespace vramwise
