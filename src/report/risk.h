// How far a prediction may be off: an interval out of measured runs, with their number, or the plain word that there
// are too few.
#pragma once

#include <optional>
#include <string>

#include "base/json_fwd.h"
#include "plan/plan.h"

namespace vramwise {

struct Risk {
  int runs = 0;  ///< that were measured: on real hardware, by the trainer that is planned for
  /// Measured over predicted; absent with fewer than ten runs. The next run's lies within with a chance of
  /// (runs - 1) / (runs + 1), whatever the residuals' distribution: they are the least and the most that was seen.
  std::optional<double> low, high;

  double coverage() const { return static_cast<double>(runs - 1) / static_cast<double>(runs + 1); }
};

/// Of the predicted memory.
Risk memory_risk(Backend backend);

/// One line, without a newline.
std::string risk_text(const Plan& plan);
Json risk_json(const Plan& plan);

}  // namespace vramwise
