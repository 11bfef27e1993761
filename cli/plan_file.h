// Small JSON files that commands take and write.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "plan/plan.h"

namespace vramwise::cli {

/// Errors: the file cannot be read, or is no JSON.
Result<Json> read_json_file(const std::string& path);

/// plan_json() with a final newline.
Status save_plan(const Plan& plan, const std::string& path);

/// Says on stderr that `path` was not written, as there is no plan. Nothing where `path` is empty.
void tell_unsaved(const std::string& path);

}  // namespace vramwise::cli
