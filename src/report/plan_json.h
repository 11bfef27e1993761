// A plan as JSON with stable keys (docs/formats.md). Memory is in bytes, under keys that end in _bytes.
#pragma once

#include "base/json_fwd.h"
#include "plan/plan.h"

namespace vramwise {

Json plan_json(const Plan& plan);

}  // namespace vramwise
