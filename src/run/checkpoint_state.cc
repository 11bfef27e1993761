// The trainer seals each state, and the command line reads it before any memory is planned: a state that cannot be
// trusted is passed over here as it is there.
#include "run/checkpoint_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/units.h"
#include "io/files.h"
#include "io/sealed_json.h"
#include "run/output_names.h"

namespace vramwise {
namespace {

Result<EarlierRun> earlier_run_from(const Json& state, const std::string& out_dir) {
  EarlierRun earlier;
  VRAMWISE_ASSIGN_OR_RETURN(earlier.step, json_get<std::int64_t>(state, "step"));
  VRAMWISE_ASSIGN_OR_RETURN(earlier.sequences, json_get<std::int64_t>(state, "sequences"));
  earlier.is_sealed = has_seal(state);
  if (state.contains("run")) {
    VRAMWISE_ASSIGN_OR_RETURN(earlier.run, run_spec_from_json(state.at("run")));
    return earlier;
  }
  const std::string run_file = join_path(out_dir, kRunFileName);
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(run_file));
  VRAMWISE_ASSIGN_OR_RETURN(const Json run, parse_json(text, run_file));
  VRAMWISE_ASSIGN_OR_RETURN(earlier.run, run_spec_from_json(run));
  return earlier;
}

}  // namespace

std::string checkpoint_folder_name(std::int64_t step) { return fmt::format("{}{:06}", kCheckpointPrefix, step); }

std::optional<std::int64_t> checkpoint_step(const std::string& folder_name) {
  const std::string_view prefix = kCheckpointPrefix;
  if (!folder_name.starts_with(prefix)) return std::nullopt;
  const auto step = parse_integer(std::string_view(folder_name).substr(prefix.size()));
  if (!step || *step < 0 || checkpoint_folder_name(*step) != folder_name) return std::nullopt;
  return step;
}

Result<std::vector<std::int64_t>> list_checkpoint_steps(const std::string& out_dir) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_folder(out_dir));
  std::vector<std::int64_t> steps;
  for (const std::string& name : names) {
    if (const auto step = checkpoint_step(name)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

Result<Json> read_checkpoint_state(const std::string& folder) {
  const std::string path = join_path(folder, kStateFileName);
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(Json state, parse_json(text, path));
  const auto format = json_get<std::int64_t>(state, "format");
  if (!format.ok()) return world_error(path + ": " + format.error().what);
  // Only states of format 1 have no seal; one that has it must hold it, whatever its format reads like now.
  if (*format != 1 || has_seal(state)) {
    if (const Status held = check_json_seal(state); !held.ok()) return world_error(path + ": " + held.error().what);
  }
  if (*format < 1) return world_error(fmt::format("{}: there is no format {}", path, *format));
  if (*format > kStateFormat) {
    return usage_error(fmt::format("{} was written by a later version of vramwise (format {})", path, *format),
                       "Continue it with that version, or begin a new run in another folder.");
  }
  return state;
}

Result<EarlierRun> find_earlier_run(const std::string& out_dir) {
  const Error none = world_error(fmt::format("--resume: there is no checkpoint in {}", out_dir),
                                 "Leave --resume out to start a new run, or name its folder with --out_dir.");
  if (!path_exists(out_dir)) return none;
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> steps, list_checkpoint_steps(out_dir));
  std::string all;
  for (const std::int64_t step : steps) {
    const Result<Json> state = read_checkpoint_state(join_path(out_dir, checkpoint_folder_name(step)));
    if (!state.ok() && state.error().code == ErrorCode::kUsage) return state.error();
    const Result<EarlierRun> earlier =
        state.ok() ? earlier_run_from(*state, out_dir) : Result<EarlierRun>(state.error());
    if (earlier.ok()) return *earlier;
    all += (all.empty() ? "" : "; ") + earlier.error().what;
  }
  if (steps.empty()) return none;
  return world_error(fmt::format("--resume: no checkpoint in {} is whole: {}", out_dir, all),
                     "Begin a new run in another folder.");
}

}  // namespace vramwise
