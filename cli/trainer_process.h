// Handing over to the second executable, vramwise-train, which has libtorch.
#pragma once

#include <string>

#include "base/result.h"

namespace vramwise::cli {

/// Replaces this process by `vramwise-train run_file` (with --json, `as_json`), so that signals and the exit code are
/// the trainer's own. Returns only on failure.
Error become_trainer(const std::string& run_file, bool as_json);

}  // namespace vramwise::cli
