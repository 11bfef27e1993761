// --resume: what an earlier run was told stays, unless a flag says otherwise; and what such a flag changes is said.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/plan_options.h"
#include "cli/run_options.h"
#include "models/decoder.h"
#include "plan/plan.h"
#include "run/checkpoint_state.h"

namespace vramwise::cli {

/// Options of data, optimizer and schedule that `command` was not given become the earlier run's.
void take_over(const EarlierRun& earlier, const CLI::App& command, RunOptions& options);

/// Fixes what decides the training (sequence length, effective batch, precision, chunk of the loss) as in the earlier
/// run, where no flag fixes it otherwise: the planner is left with what only costs memory and time.
void take_over(const EarlierRun& earlier, Overrides& overrides);

/// The model of the run that goes on. `asked`: what the flags say, absent where there are none.
Result<DecoderConfig> model_to_continue(const EarlierRun& earlier, const std::optional<DecoderConfig>& asked);

/// "tiny", where a preset has these dimensions, else "custom".
std::string name_of_model(const DecoderConfig& model);

/// What flags change of the training, a sentence each; empty for a run that goes on as it was. Errors (kUsage): a
/// change that cannot be made.
Result<std::vector<std::string>> changes_of_training(const EarlierRun& earlier, const RunSpec& spec);

}  // namespace vramwise::cli
