// Places where a test, or an embedding program, looks into a run or disturbs it.
#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace vramwise {

struct MicroBatchPoint {
  std::int64_t step = 0;
  std::size_t replica = 0;
  std::int64_t index = 0;      ///< of the micro-batch within the step
  std::int64_t sequences = 0;  ///< in it
};

/// All may be empty.
struct TrainerHooks {
  /// Before a micro-batch is computed, on the replica's thread. What it throws is taken as thrown by the computation.
  std::function<void(const MicroBatchPoint&)> before_micro_batch;
  /// As before_micro_batch, for an evaluation.
  std::function<void(const MicroBatchPoint&)> before_eval_batch;
  /// The gradients of the whole step (flat, fp32, times the loss scale), before they are clipped and applied. They may
  /// be changed.
  std::function<void(std::int64_t step, torch::Tensor gradients)> after_gradients;
  /// Asked before each micro-batch and each batch of an evaluation, on the replica's thread, and after every step: 0,
  /// or the signal for which the run is to save and end.
  std::function<int()> stop_signal;
};

}  // namespace vramwise
