// A mean of the last 20 steps follows a change (a smaller micro-batch after memory ran out) and still does not flicker.
#include "train/step_clock.h"

#include <numeric>

namespace vramwise {

void StepClock::begin_step() { began_ = std::chrono::steady_clock::now(); }

void StepClock::end_step() {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  if (++steps_ == 1) first_ = seconds;
  if (steps_ > 1) rest_ += seconds;
  if (steps_ == 2) recent_.clear();
  recent_.push_back(seconds);
  if (recent_.size() > kRecent) recent_.pop_front();
}

std::optional<double> StepClock::recent_mean() const {
  if (recent_.empty()) return std::nullopt;
  return std::accumulate(recent_.begin(), recent_.end(), 0.0) / static_cast<double>(recent_.size());
}

std::optional<double> StepClock::tokens_per_s(std::int64_t tokens_a_step) const {
  if (steps_ == 0) return std::nullopt;
  const double seconds = steps_ == 1 ? first_ : rest_ / static_cast<double>(steps_ - 1);
  return static_cast<double>(tokens_a_step) / seconds;
}

std::optional<double> StepClock::recent_tokens_per_s(std::int64_t tokens_a_step) const {
  const auto mean = recent_mean();
  if (!mean) return std::nullopt;
  return static_cast<double>(tokens_a_step) / *mean;
}

std::optional<double> StepClock::seconds_for(std::int64_t steps) const {
  const auto mean = recent_mean();
  if (!mean) return std::nullopt;
  return *mean * static_cast<double>(steps);
}

}  // namespace vramwise
