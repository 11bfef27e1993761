// Whether the JSON of a plan has what plan_json() and training_plan_json() write, so that a file that was cut short or
// edited by hand is told as that, and not as a plan.
#pragma once

#include "base/json_fwd.h"
#include "base/result.h"

namespace vramwise {

/// Looks at what a reader needs of a "vramwise.plan" or "vramwise.plan_training"; keys beside that may be anything.
/// Errors (kWorld): names the first key that is missing or that holds what it can't.
Status check_plan_shape(const Json& plan);

}  // namespace vramwise
