// StepClock: how long training steps take, evaluations and checkpoints left out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace vramwise {

class StepClock {
 public:
  void begin_step();
  void end_step();

  double last_seconds() const { return recent_.empty() ? 0.0 : recent_.back(); }

  /// Over all steps but the first, which also warms up; over that one if it is the only one. nullopt before it.
  std::optional<double> tokens_per_s(std::int64_t tokens_a_step) const;
  /// As tokens_per_s, over the last 20 steps.
  std::optional<double> recent_tokens_per_s(std::int64_t tokens_a_step) const;
  /// How long `steps` more will take, going by the last 20.
  std::optional<double> seconds_for(std::int64_t steps) const;

 private:
  std::optional<double> recent_mean() const;

  static constexpr std::size_t kRecent = 20;

  std::chrono::steady_clock::time_point began_;
  std::deque<double> recent_;  ///< seconds
  std::int64_t steps_ = 0;
  double first_ = 0;
  double rest_ = 0;  ///< all but the first
};

}  // namespace vramwise
