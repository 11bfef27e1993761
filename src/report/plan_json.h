// A plan as JSON with stable keys (docs/formats.md). Memory is in bytes, under keys that end in _bytes.
#pragma once

#include <vector>

#include "base/json_fwd.h"
#include "plan/alternatives.h"
#include "plan/plan.h"

namespace vramwise {

inline constexpr int kPlanSchemaVersion = 1;

Json plan_json(const Plan& plan);

/// "changes" and "cards": what would fit instead (docs/formats.md).
Json changes_json(const std::vector<Alternative>& changes, const std::vector<const GpuModel*>& cards);

}  // namespace vramwise
