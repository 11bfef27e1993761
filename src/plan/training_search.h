// The fastest way to train a Hugging Face model on one card: the estimate of src/estimate/training as the judge.
//
// What the trainer of transformers can carry out without another optimizer or another model is searched: the
// micro-batch with its accumulation, and whether every layer is recomputed. Everything else stays as it is asked for.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "cost/device_rates.h"
#include "estimate/training.h"

namespace vramwise {

struct TrainingRequest {
  ModelConfig model;
  TrainingSettings settings;    ///< micro_batch and accumulation are chosen; the rest is kept
  std::int64_t sequences = 16;  ///< of an optimizer step
  bool may_recompute = true;    ///< every layer, where that helps
  TrainingCard card;            ///< its total is not looked at: `usable` is what may be taken
  Bytes usable;                 ///< of the card, context included
  DeviceRates rates;
};

struct TrainingChoice {
  TrainingSettings settings;
  TrainingEstimate estimate;
  double seconds = 0;  ///< of an optimizer step

  double tokens_per_s() const;
};

struct TrainingPlan {
  TrainingChoice best;
  std::vector<TrainingChoice> runner_ups;  ///< by speed; each takes less memory than those before it
  int estimates = 0;
};

/// Errors: kDoesNotFit with what the smallest choice takes; those of estimate_training.
Result<TrainingPlan> plan_training(const TrainingRequest& request);

}  // namespace vramwise
