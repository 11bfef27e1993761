// state.json of a checkpoint, and what checkpoints are called: what the command line must know of an earlier run before
// torch is loaded, and the trainer afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "run/run_spec.h"

namespace vramwise {

/// 2: the whole run under "run", and a seal. 1 had neither, and is still read.
inline constexpr std::int64_t kStateFormat = 2;
inline constexpr const char* kStateFileName = "state.json";

std::string checkpoint_folder_name(std::int64_t step);  ///< "step-000100"

/// Steps of the checkpoints in out_dir, newest first, whole or not. Errors: out_dir cannot be read.
Result<std::vector<std::int64_t>> list_checkpoint_steps(const std::string& out_dir);
std::optional<std::int64_t> checkpoint_step(const std::string& folder_name);

/// The state in a checkpoint's folder, with its seal checked. Errors: missing, damaged; written by a later version
/// (kUsage).
Result<Json> read_checkpoint_state(const std::string& folder);

/// The run that a checkpoint is of.
struct EarlierRun {
  std::int64_t step = 0;       ///< steps it made
  std::int64_t sequences = 0;  ///< it took from the training text, each of run.step.seq_len tokens
  RunSpec run;
  bool is_sealed = true;  ///< false: a state of format 1, so `run` is what run.json says
};

/// Of the newest checkpoint in out_dir with a sound state; that its tensors are whole is not looked at. Errors: there
/// is no checkpoint, or none with a sound state; the folder cannot be read.
Result<EarlierRun> find_earlier_run(const std::string& out_dir);

}  // namespace vramwise
