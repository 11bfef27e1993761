// One run of the program, or several where one raises a question: what it would take where it does not fit, and whether
// it asks for the same when skipped memory reads as something else.
#include "dryrun/run.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "dryrun/description.h"
#include "dryrun/environment.h"
#include "dryrun/host_memory_watch.h"
#include "dryrun/outside_watch.h"
#include "dryrun/process.h"
#include "dryrun/sandbox/overlay.h"
#include "dryrun/sandbox/run_folder.h"
#include "gpus/cuda_facts.h"
#include "io/files.h"
#include "values/trace.h"

namespace vramwise {
namespace {

std::vector<std::string> real_folders(const DryRunOptions& options, const RunFolder& folder) {
  std::vector<std::string> folders = options.real_folders;
  folders.push_back(folder.ledgers());
  if (const std::string cache = values_cache(); !cache.empty()) folders.push_back(cache);
  return folders;
}

std::vector<Bytes> workspaces_of(const std::vector<GpuModel>& cards) {
  const char* config = std::getenv("CUBLAS_WORKSPACE_CONFIG");
  const auto text = config == nullptr ? std::nullopt : std::optional<std::string_view>(config);
  std::vector<Bytes> sizes;
  sizes.reserve(cards.size());
  for (const GpuModel& card : cards)
    sizes.push_back(cublas_workspace(card.compute_capability.value_or(kAssumedCapability), text).bytes);
  return sizes;
}

struct SingleRun {
  DryRun run;
  std::vector<std::string> traces;  ///< of its processes, with check_values
};

/// The traces of all processes (trace.PROCESS.txt), in the order of their starts.
Result<std::vector<std::string>> read_traces(const std::string& folder) {
  std::vector<std::pair<std::int64_t, std::string>> traces;
  VRAMWISE_ASSIGN_OR_RETURN(const auto names, list_folder(folder));
  for (const std::string& name : names) {
    const auto parts = split(name, '.');
    if (parts.size() != 3 || parts[0] != "trace" || parts[2] != "txt") continue;
    VRAMWISE_ASSIGN_OR_RETURN(auto text, read_file(join_path(folder, name), std::int64_t{4} << 30));
    traces.emplace_back(parse_integer(parts[1]).value_or(0), std::move(text));
  }
  std::sort(traces.begin(), traces.end());
  std::vector<std::string> texts;
  texts.reserve(traces.size());
  for (auto& [unused, text] : traces) texts.push_back(std::move(text));
  return texts;
}

Status copy_snapshot(const DryRun& run, const std::string& to) {
  if (run.history.empty()) return world_error("there is no snapshot: PyTorch's memory history was not recorded");
  VRAMWISE_ASSIGN_OR_RETURN(const auto bytes, read_file(run.history, std::int64_t{16} << 30));
  return write_file_atomically(to, bytes);
}

Result<SingleRun> run_once(const DryRunOptions& options, const Json& machine, const std::string& snapshot) {
  VRAMWISE_ASSIGN_OR_RETURN(const RunFolder folder, RunFolder::make());
  VRAMWISE_RETURN_IF_ERROR(write_hook(folder.ledgers()));
  ProgramOptions program = {.environment = environment_of(options, machine, folder.ledgers()),
                            .output_to_stderr = options.output_to_stderr,
                            .removed_with_guard = folder.path()};
  if (options.check_values) program.environment.emplace("VRAMWISE_TRACE", "1");
  if (!options.allow_writes && std::getenv(kInOverlay) == nullptr) {
    program.prepare = [&] {
      return enter_throwaway_overlay({.scratch = folder.scratch(), .real_folders = real_folders(options, folder)});
    };
    program.environment.emplace(kInOverlay, "1");
  }
  program.reason_to_end = [memory = HostMemoryWatch(), outside = OutsideWatch(folder.ledgers())](
                              const std::function<std::vector<int>()>& processes) mutable {
    outside(processes);
    return memory(processes);
  };
  VRAMWISE_ASSIGN_OR_RETURN(const ProgramEnd end, run_program(options.command, program));
  if (!end.ended_because.empty()) {
    return world_error(
        "the dry run was ended, before the kernel would have: " + end.ended_because,
        "Build the model on the card (`with torch.device(\"cuda\")`, device_map), or use --fake-weights: "
        "what lies on emulated cards takes no host memory.");
  }
  SingleRun single;
  VRAMWISE_ASSIGN_OR_RETURN(single.run, read_dry_run(folder.ledgers(), end.exit_code, workspaces_of(options.cards)));
  single.run.host_peak = end.host_peak;
  VRAMWISE_ASSIGN_OR_RETURN(single.traces, read_traces(folder.ledgers()));
  if (!snapshot.empty()) VRAMWISE_RETURN_IF_ERROR(copy_snapshot(single.run, snapshot));
  return single;
}

/// The byte that skipped memory reads as in the second run: 0.75 as a float of any size, true, and a large integer.
constexpr int kSecondFill = 0x3f;

Status check_values(const DryRunOptions& options, Json machine, const std::vector<std::string>& first, DryRun& run) {
  if (options.tell) options.tell("once more, with another value in memory that nothing was computed into");
  machine["fill"] = kSecondFill;
  VRAMWISE_ASSIGN_OR_RETURN(const SingleRun again, run_once(options, machine, ""));
  run.value_check =
      ValueCheck{.difference = "", .first = run.verdict, .second = again.run.verdict, .gpus = again.run.gpus};
  if (run.value_check->decides()) run.verdict = DryRunVerdict::kIncomplete;
  if (again.traces.size() != first.size() || again.run.script_exit != run.script_exit) {
    run.value_check->difference = "the program did something else: another number of processes, or another end";
    return Done{};
  }
  for (std::size_t i = 0; i < first.size() && run.value_check->difference.empty(); ++i) {
    VRAMWISE_ASSIGN_OR_RETURN(const auto a, values::parse_trace(first[i], "the first run's trace"));
    VRAMWISE_ASSIGN_OR_RETURN(const auto b, values::parse_trace(again.traces[i], "the second run's trace"));
    if (const auto difference = values::first_difference(a, b)) run.value_check->difference = describe(*difference);
  }
  return Done{};
}

/// A second opinion; where the program does not fit without lag, there is nothing to ask.
Status measure_with_lag(const DryRunOptions& options, Json machine, DryRun& run) {
  if (options.tell) options.tell("once more, with work on the cards that lags behind the host");
  machine["lag"] = true;
  VRAMWISE_ASSIGN_OR_RETURN(SingleRun lagging, run_once(options, machine, ""));
  run.with_lag = LaggingRun{.verdict = lagging.run.verdict, .gpus = std::move(lagging.run.gpus)};
  return Done{};
}

/// A card that nothing fills: it shows what the program would take.
Status measure_beyond(const DryRunOptions& options, Json machine, DryRun& run) {
  if (options.tell) options.tell("it does not fit: once more on cards without end, to see what it takes");
  for (Json& card : machine["cards"]) {
    card["total_bytes"] = std::int64_t{1} << 43;
    card["nvml_total_bytes"] = std::int64_t{1} << 43;
  }
  VRAMWISE_ASSIGN_OR_RETURN(SingleRun beyond, run_once(options, machine, ""));
  if (beyond.run.script_exit == 0) run.beyond = std::move(beyond.run.gpus);
  return Done{};
}

}  // namespace

Result<std::string> find_emulator(const std::string& executable) {
  if (const char* named = std::getenv("VRAMWISE_EMULATOR"); named != nullptr && *named != '\0') {
    if (path_exists(named)) return std::string(named);
    return world_error(std::string("VRAMWISE_EMULATOR names '") + named + "', which isn't there");
  }
  const std::string root = parent_folder(parent_folder(executable));
  for (const char* folder : {"lib/emulator", "lib/vramwise/emulator"}) {
    std::string path = join_path(join_path(root, folder), "libvramwise_emulator.so");
    if (path_exists(path)) return path;
  }
  return world_error("the emulated GPU (libvramwise_emulator.so) is not beside " + executable,
                     "Build it (`ninja emulator_library`), or set VRAMWISE_EMULATOR to it.");
}

Result<DryRun> dry_run(const DryRunOptions& options) {
  VRAMWISE_ASSIGN_OR_RETURN(Json machine, emulated_machine(options.cards, options.context));
  if (options.strict) machine["strict"] = true;
  if (options.lag == DryRunLag::kOn) machine["lag"] = true;
  VRAMWISE_ASSIGN_OR_RETURN(SingleRun first, run_once(options, machine, options.snapshot));
  DryRun run = std::move(first.run);
  run.lags = options.lag == DryRunLag::kOn;
  run.context_is_given = options.context.has_value();
  if (options.check_values) VRAMWISE_RETURN_IF_ERROR(check_values(options, machine, first.traces, run));
  const bool ran = run.verdict == DryRunVerdict::kFits || run.verdict == DryRunVerdict::kFitsWithRetries;
  if (ran && options.lag == DryRunLag::kBoth) VRAMWISE_RETURN_IF_ERROR(measure_with_lag(options, machine, run));
  if (run.verdict == DryRunVerdict::kDoesNotFit && options.measure_beyond)
    VRAMWISE_RETURN_IF_ERROR(measure_beyond(options, machine, run));
  return run;
}

}  // namespace vramwise
