// The folder of a run: what an earlier run left there is moved aside, never overwritten.
#pragma once

#include <string>

#include "base/result.h"
#include "io/file_lock.h"
#include "run/run_spec.h"

namespace vramwise::cli {

/// Makes the folder and takes its lock, without which nothing in it may be changed. Errors: another run has it
/// (kWorld); it can't be made.
Result<FileLock> lock_output_folder(const std::string& out_dir);

/// With the lock held: writes run.json into spec.out_dir; returns that file's path. Without spec.resume, an earlier
/// run's files (checkpoints, metrics, run.json) move to <out_dir>/previous-N first. Errors: it can't be written.
Result<std::string> prepare_output_folder(const RunSpec& spec);

}  // namespace vramwise::cli
