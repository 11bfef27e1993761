// A saved plan told again: what was chosen, why, and what it was chosen over, from its JSON alone.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "base/result.h"
#include "report/table.h"

namespace vramwise {

/// Errors: not a plan of ours; a damaged one (plan_shape.h).
Result<std::string> explain_text(const Json& plan, TextStyle style);

}  // namespace vramwise
