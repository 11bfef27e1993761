// The states of PyTorch's random number generators, taken and put back: when a step is repeated, and in checkpoints.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "run/run_spec.h"

namespace vramwise {

class RandomState {
 public:
  /// The generators of the CPU and of the replicas' devices.
  static RandomState capture(const std::vector<ReplicaSpec>& replicas);

  void restore() const;

  /// {"cpu": "<hex>", "cuda:0": "<hex>"}
  Json to_json() const;

  /// Errors: not what to_json wrote, another size than the generators of this torch have. Devices that are not here
  /// today are left out.
  static Result<RandomState> from_json(const Json& json);

 private:
  struct Entry {
    std::string device;
    torch::Tensor state;  ///< bytes, on the CPU
  };
  std::vector<Entry> entries_;
};

}  // namespace vramwise
