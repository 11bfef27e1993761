// Half a cosine as in SGDR (Loshchilov and Hutter, 2017, equation 5) with one period, after a linear warm-up.
#include "train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace vramwise {

double learning_rate_at(const OptimizerSpec& o, std::int64_t max_steps, std::int64_t step) {
  if (step <= o.warmup_steps) return o.learning_rate * static_cast<double>(step) / static_cast<double>(o.warmup_steps);
  const std::int64_t length = std::max<std::int64_t>(1, max_steps - o.warmup_steps);
  const double progress = std::min(1.0, static_cast<double>(step - o.warmup_steps) / static_cast<double>(length));
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return o.min_learning_rate + (o.learning_rate - o.min_learning_rate) * cosine;
}

}  // namespace vramwise
