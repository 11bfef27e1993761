// The learning rate of each step: linear warm-up, then half a cosine down to the minimum.
#pragma once

#include <cstdint>

#include "run/run_spec.h"

namespace vramwise {

/// `step` counts from 1. Step s of the warm-up has s / warmup_steps of the full rate, so the last one has all of it;
/// the cosine reaches min_learning_rate at step max_steps.
double learning_rate_at(const OptimizerSpec& optimizer, std::int64_t max_steps, std::int64_t step);

}  // namespace vramwise
