// A plan for another trainer than ours as text, from its JSON: so a saved one is told as it was at first.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "report/table.h"

namespace vramwise {

/// The trainer's own words, why, and what else there would be.
std::string training_plan_text(const Json& plan, TextStyle style);

/// What would fit instead, where nothing does. Empty where nothing was found.
std::string training_changes_text(const Json& refusal, TextStyle style);

}  // namespace vramwise
