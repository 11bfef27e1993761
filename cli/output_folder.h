// The folder of a run: what an earlier run left there is moved aside, never overwritten.
#pragma once

#include <string>

#include "base/result.h"
#include "run/run_spec.h"

namespace vramwise::cli {

/// Makes spec.out_dir and writes run.json into it; returns that file's path. Without spec.resume, an earlier run's
/// files (checkpoints, metrics, run.json) move to <out_dir>/previous-N first. Errors: another run is using the folder;
/// nothing to resume; it can't be written.
Result<std::string> prepare_output_folder(const RunSpec& spec);

}  // namespace vramwise::cli
