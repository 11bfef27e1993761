// Handing over to the second executable, vramwise-train, which has libtorch.
#pragma once

#include <string>

#include "base/result.h"
#include "io/file_lock.h"

namespace vramwise::cli {

/// Replaces this process by `vramwise-train run_file` (with --json, `as_json`), so that signals and the exit code are
/// the trainer's own. It sees the cards of `visible_devices` (CUDA_VISIBLE_DEVICES), or all of ours where that is
/// empty. The trainer goes on with `lock`, that of its output folder, so that between the two nobody
/// else can have it. Returns only on failure.
Error become_trainer(const std::string& run_file, bool as_json, const std::string& visible_devices, FileLock lock);

}  // namespace vramwise::cli
