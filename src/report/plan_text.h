// A plan as text for people: the report block, then what the peak consists of, each decision with its reason, and
// notes.
#pragma once

#include <string>

#include "plan/plan.h"
#include "report/table.h"

namespace vramwise {

/// Ends in a newline. Without a style no colour and no control characters.
std::string plan_text(const Plan& plan, TextStyle style = {});

/// Only the block between the first and the last rule: what scripts that know the block may look for.
std::string report_block(const Plan& plan);

}  // namespace vramwise
