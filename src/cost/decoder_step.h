// How long an optimizer step of our trainer takes, from its kernels (src/nn, src/train) and the devices' rates.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cost/device_rates.h"
#include "estimate/ledger.h"
#include "estimate/step.h"
#include "models/decoder.h"

namespace vramwise {

/// What does not change with the micro-batch, worked out once: passes of any size cost a few multiplications each.
class DecoderPass {
 public:
  /// `settings`: all but its micro_batch counts.
  DecoderPass(const DecoderConfig& config, const StepSettings& settings, Backend backend, const DeviceRates& rates);

  /// Forward and backward pass of so many sequences, and their gradients added to the sum.
  double seconds(std::int64_t sequences) const;

 private:
  DecoderConfig config_;
  StepSettings settings_;
  Backend backend_;
  DeviceRates rates_;
};

/// One card's part of a step.
struct ReplicaWork {
  std::int64_t sequences = 0;  ///< of an optimizer step
  std::int64_t passes = 1;     ///< in which they are computed, as even as can be
};

/// Seconds of those passes. `passes` is at least 1, and at most `sequences`.
double seconds_of(const DecoderPass& pass, const ReplicaWork& work);
/// The same, where somebody knows the seconds of one pass by its sequences.
double seconds_of(const std::function<double(std::int64_t)>& pass_seconds, const ReplicaWork& work);

/// What comes after the passes: gradients of the other cards summed on the one with the optimizer, one card after the
/// other; the norm; AdamW, on the card or on the host; weights back to the others; gradients zeroed. `others`: rates of
/// the cards without the optimizer.
double update_seconds(const DecoderConfig& config, const StepSettings& settings, const DeviceRates& holder,
                      const std::vector<DeviceRates>& others);

}  // namespace vramwise
