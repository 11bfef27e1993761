// What a trace of a training run comes to: peaks, and what is alive at them.
#pragma once

#include "estimate/training.h"

namespace vramwise {

/// Everything of an estimate that the card's size does not decide.
TrainingEstimate ledger_of(const TrainingTrace& trace, const AllocatorOptions& options);

/// Replays the trace within the card's memory and fills in what came of it.
void replay_on_card(const TrainingTrace& trace, const TrainingCard& card, const AllocatorOptions& options,
                    TrainingEstimate& estimate);

}  // namespace vramwise
