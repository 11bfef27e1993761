// What DeepSpeed's engine adds to the passes and the update of a model that is whole on one card: bytes at least, and
// work. So one profile of the passes (profile.h) serves all stages of ZeRO and all sizes of buckets.
#pragma once

#include "cost/collectives.h"
#include "estimate/training.h"

namespace vramwise {

bool has_engine(const TrainingSettings& settings);

/// One card's share.
struct EngineRun {
  const tape::DeepSpeedOptions& zero;
  int ranks = 1;
  double stored_bytes = 2;  ///< of a weight or gradient
  double parameters = 0;
  double trained = 0;

  double part() const { return trained / ranks; }
  double bucket_bytes() const;  ///< of all buckets
};

/// Alive at least in a pass beside weights, activations and optimizer states: less than nothing where weights are
/// shared out. `is_later`: not the first pass of a step. The bucket of stages 1 and 2 is not in it: it comes with the
/// first gradient.
double engine_pass_bytes(const EngineRun& run, bool is_later);
/// Alive at least when the optimizer steps, the optimizer's own temporaries aside.
double engine_update_bytes(const EngineRun& run, double state_bytes);

struct EngineWork {
  tape::Work first_pass, later_pass, update;
};
/// `accumulation`: what it takes to add all gradients to those of passes before.
EngineWork engine_work(const EngineRun& run, const tape::Work& accumulation);

/// An optimizer step of all cards.
double engine_seconds(const StepSeconds& step, const CardGroup& group, const EngineRun& run);

}  // namespace vramwise
