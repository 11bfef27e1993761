// A trainer reduced to its step, on random tokens: what tests/memory measures.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/token_source.h"
#include "estimate/step.h"
#include "models/decoder.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/replica.h"

namespace vramwise::testing {

class MeasuredRun {
 public:
  /// Builds weights and gradients.
  MeasuredRun(const DecoderConfig& config, const StepSettings& settings, torch::Device device = torch::kCPU);

  /// Takes the optimizer's states. `folder`: where offloaded ones go.
  void add_optimizer(const std::string& folder);

  /// `count` steps of all their micro-batches, the optimizer included if there is one.
  void step(int count);

 private:
  StepSettings settings_;
  FlatLayout layout_;
  Replica replica_;
  std::unique_ptr<Optimizer> optimizer_;
  TokenSource tokens_;
  std::vector<std::int64_t> starts_;
  std::int64_t steps_ = 0;
};

}  // namespace vramwise::testing
