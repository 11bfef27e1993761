// Files of a run's folder: the emulator's ledgers (what each process took of each card); PyTorch's own counters and
// memory history; which rank of many the program was.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "base/pickle.h"
#include "dryrun/analysis/history.h"
#include "dryrun/analysis/owners.h"
#include "dryrun/ledger.h"
#include "dryrun/seen_processes.h"
#include "io/files.h"

namespace vramwise {
namespace {

DryRunGpu& gpu_at(std::vector<DryRunGpu>& gpus, std::int64_t index) {
  const auto found = std::find_if(gpus.begin(), gpus.end(), [&](const DryRunGpu& g) { return g.index == index; });
  if (found != gpus.end()) return *found;
  gpus.emplace_back().index = index;
  return gpus.back();
}

Result<Bytes> get_bytes(const Json& json, const char* key) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto count, json_get<std::int64_t>(json, key));
  return Bytes(count);
}

Status add_device(DryRun& run, const Json& json, const std::string& id, const SeenProcesses& processes) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto peak, get_bytes(json, "peak_bytes"));
  if (peak == Bytes(0)) return Done{};  // seen, but not used
  VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(json, "index"));
  const std::int64_t card = processes.number(id, index);
  DryRunGpu& gpu = gpu_at(run.gpus, card);
  VRAMWISE_ASSIGN_OR_RETURN(gpu.name, json_get<std::string>(json, "name"));
  VRAMWISE_ASSIGN_OR_RETURN(gpu.total, get_bytes(json, "total_bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto context, get_bytes(json, "context_bytes"));
  const bool counts = processes.on(card)->together.contains(id);
  if (counts) gpu.context += context;
  VRAMWISE_ASSIGN_OR_RETURN(const auto other, json_get_or<std::int64_t>(json, "other_bytes", 0));
  gpu.other = std::max(gpu.other, Bytes(other));
  if (counts) gpu.device_peak += peak;
  gpu.out_of_memory_errors += processes.refusals(id, index);
  return Done{};
}

void add_counts(const Json& json, const char* key, std::map<std::string, std::int64_t>& into) {
  const Json counts = json.value(key, Json::object());
  for (const auto& [name, count] : counts.items()) into[name] += count.get<std::int64_t>();
}

Status add_emulator_ledger(DryRun& run, const Json& json, const std::string& id, const SeenProcesses& processes) {
  for (const Json& device : json.value("devices", Json::array()))
    VRAMWISE_RETURN_IF_ERROR(add_device(run, device, id, processes));
  const Json pinned = json.value("pinned_host", Json::object());
  VRAMWISE_ASSIGN_OR_RETURN(const auto peak, get_bytes(pinned, "peak_bytes"));
  run.pinned_host_peak += peak;
  add_counts(json, "unmodelled", run.unmodelled);
  add_counts(json, "assumed", run.assumed);
  return Done{};
}

Status add_rank(DryRun& run, const Json& json) {
  DryRunRank rank;
  VRAMWISE_ASSIGN_OR_RETURN(rank.rank, json_get<std::int64_t>(json, "rank"));
  VRAMWISE_ASSIGN_OR_RETURN(rank.world_size, json_get<std::int64_t>(json, "world_size"));
  if (json.contains("local_world_size") && !json["local_world_size"].is_null()) {
    VRAMWISE_ASSIGN_OR_RETURN(rank.local_world_size, json_get<std::int64_t>(json, "local_world_size"));
  }
  if (!run.rank || run.rank->world_size < rank.world_size) run.rank = rank;
  add_counts(json, "assumed", run.assumed);
  return Done{};
}

Result<DryRunPeak> get_peak(const Json& device, const char* key, const std::string& phase) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto pair, json_get<std::vector<std::int64_t>>(device, key));
  if (pair.size() != 2) return world_error(fmt::format("{} is not a size and a step", key));
  return DryRunPeak{.bytes = Bytes(pair[0]), .step = pair[1], .phase = phase};
}

/// The peak of a card is the largest of its phases.
void raise(std::optional<DryRunPeak>& peak, const DryRunPeak& other) {
  if (!peak || peak->bytes < other.bytes) peak = other;
}

Status add_phase(std::vector<DryRunGpu>& gpus, const std::string& name, const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(json, "index"));
  DryRunPhase phase{.name = name, .allocated = {}, .reserved = {}, .device = {}};
  VRAMWISE_ASSIGN_OR_RETURN(phase.allocated, get_peak(json, "allocated", name));
  VRAMWISE_ASSIGN_OR_RETURN(phase.reserved, get_peak(json, "reserved", name));
  VRAMWISE_ASSIGN_OR_RETURN(phase.device, get_peak(json, "device", name));
  DryRunGpu& gpu = gpu_at(gpus, index);
  raise(gpu.allocated, phase.allocated);
  raise(gpu.reserved, phase.reserved);
  gpu.phases.push_back(std::move(phase));
  return Done{};
}

std::size_t order_of(const DryRunPhase& phase) {
  return static_cast<std::size_t>(std::find(kPhases.begin(), kPhases.end(), phase.name) - kPhases.begin());
}

/// A process that was there before or after those that took most: only the peaks of its phases may be news.
void join_phases(DryRunGpu& gpu, const DryRunGpu& seen) {
  for (const DryRunPhase& phase : seen.phases) {
    const auto known = std::find_if(gpu.phases.begin(), gpu.phases.end(),
                                    [&](const DryRunPhase& other) { return other.name == phase.name; });
    if (known == gpu.phases.end()) {
      gpu.phases.push_back(phase);
      continue;
    }
    if (known->allocated.bytes < phase.allocated.bytes) known->allocated = phase.allocated;
    if (known->reserved.bytes < phase.reserved.bytes) known->reserved = phase.reserved;
    if (known->device.bytes < phase.device.bytes) known->device = phase.device;
  }
  std::stable_sort(gpu.phases.begin(), gpu.phases.end(),
                   [](const DryRunPhase& a, const DryRunPhase& b) { return order_of(a) < order_of(b); });
}

/// One process's view of a card joins what is known of the card.
void join(DryRunGpu& gpu, DryRunGpu&& seen) {
  if (!gpu.reserved || gpu.reserved->bytes < seen.reserved->bytes) {
    std::swap(gpu.phases, seen.phases);
    std::swap(gpu.way, seen.way);
    std::swap(gpu.share, seen.share);
    std::swap(gpu.allocated, seen.allocated);
    std::swap(gpu.reserved, seen.reserved);
  }
  if (seen.allocated) gpu.allocated->bytes += seen.allocated->bytes;
  if (seen.reserved) gpu.reserved->bytes += seen.reserved->bytes;
  std::stable_sort(gpu.phases.begin(), gpu.phases.end(),
                   [](const DryRunPhase& a, const DryRunPhase& b) { return order_of(a) < order_of(b); });
}

bool holds_more(const std::vector<DryRunGpu>& gpus, const std::vector<DryRunGpu>& than) {
  const auto most = [](const std::vector<DryRunGpu>& list) {
    Bytes bytes;
    for (const DryRunGpu& gpu : list) bytes = std::max(bytes, gpu.reserved ? gpu.reserved->bytes : Bytes(0));
    return bytes;
  };
  return most(gpus) > most(than);
}

/// A history that can't be read leaves the report without owners, and says so.
Status add_ways(std::vector<DryRunGpu>& gpus, const Json& json, const std::string& history_path,
                const std::vector<Bytes>& workspaces) {
  constexpr std::int64_t kMost = std::int64_t{8} << 30;
  VRAMWISE_ASSIGN_OR_RETURN(const auto bytes, read_file(history_path, kMost));
  VRAMWISE_ASSIGN_OR_RETURN(const auto snapshot, parse_pickle(bytes));
  VRAMWISE_ASSIGN_OR_RETURN(const auto history, read_memory_history(snapshot));
  for (DryRunGpu& gpu : gpus) {
    if (gpu.index < 0 || gpu.index >= static_cast<std::int64_t>(history.devices.size())) continue;
    VRAMWISE_ASSIGN_OR_RETURN(const auto observed, read_observed_run(json, gpu.index));
    const DeviceHistory& device = history.devices[static_cast<std::size_t>(gpu.index)];
    gpu.way = follow_device(device, find_owners(device, gpu.index, history, observed, workspaces), history, observed);
  }
  return Done{};
}

void add_notes_on_threads(DryRun& run, const Json& json) {
  if (const std::size_t others = json.value("threads", Json::array()).size(); others > 0) {
    run.notes.push_back(fmt::format(
        "{} threads trained on cards of their own: each card has the phases of its thread, and the optimizer steps are "
        "those of the thread that took most",
        others + 1));
  }
  if (json.value("threads_are_mixed", false)) {
    run.notes.emplace_back(
        "several threads took optimizer steps on one card: where they did so at the same time, phases and steps are "
        "those of one of them or a mixture; the peaks are true");
  }
}

void add_note_on_loaders(DryRun& run, std::int64_t unused) {
  run.notes.push_back(fmt::format(
      "{} ended because many of its batches were read and no model was called for them; where the program uses them "
      "later, in more passes a step or after it has looked at all, --full reads them to their end",
      unused == 1 ? "a data loader was" : fmt::format("each of {} data loaders was", unused)));
}

Status add_torch_counters(DryRun& run, const Json& json, const std::string& history_path, const std::string& id,
                          const SeenProcesses& processes, const std::vector<Bytes>& workspaces) {
  VRAMWISE_ASSIGN_OR_RETURN(run.torch, json_get<std::string>(json, "torch"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto steps, json_get<std::int64_t>(json, "steps"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto ended, json_get<std::int64_t>(json, "loaders_ended"));
  run.steps = std::max(run.steps, steps);
  run.loaders_ended += ended;
  VRAMWISE_ASSIGN_OR_RETURN(const auto unused, json_get_or<std::int64_t>(json, "loaders_unused", 0));
  if (unused > 0) add_note_on_loaders(run, unused);
  if (json.contains("values") && !json["values"].is_null()) run.values = json["values"].dump();
  add_notes_on_threads(run, json);
  std::vector<DryRunGpu> seen;
  for (const Json& phase : json.value("phases", Json::array())) {
    VRAMWISE_ASSIGN_OR_RETURN(const auto name, json_get<std::string>(phase, "name"));
    for (const Json& device : phase.value("devices", Json::array()))
      VRAMWISE_RETURN_IF_ERROR(add_phase(seen, name, device));
  }
  if (path_exists(history_path)) {
    if (run.history.empty() || holds_more(seen, run.gpus)) run.history = history_path;
    const Status added = add_ways(seen, json, history_path, workspaces);
    if (!added.ok()) run.notes.push_back("what the memory was for is not known: " + added.error().what);
  }
  for (DryRunGpu& gpu : seen) {
    gpu.index = processes.number(id, gpu.index);
    const OnCard* on_card = processes.on(gpu.index);
    if (on_card == nullptr || on_card->together.contains(id)) {
      if (on_card != nullptr && on_card->shares.size() > 1 && on_card->shares.contains(id)) {
        gpu.share = on_card->shares.at(id);
        gpu.share->reserved = gpu.reserved->bytes;
      }
      join(gpu_at(run.gpus, gpu.index), std::move(gpu));
    } else {
      join_phases(gpu_at(run.gpus, gpu.index), gpu);
    }
  }
  for (const Json& device : json.value("devices", Json::array())) {
    VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(device, "index"));
    VRAMWISE_ASSIGN_OR_RETURN(const auto retries, json_get<std::int64_t>(device, "retries"));
    VRAMWISE_ASSIGN_OR_RETURN(const auto errors, json_get<std::int64_t>(device, "ooms"));
    DryRunGpu& gpu = gpu_at(run.gpus, processes.number(id, index));
    gpu.retries += retries;
    gpu.out_of_memory_errors += errors - processes.refusals(id, index);
  }
  return Done{};
}

/// The exit codes of programs that die of an error that nobody caught: Python's, the trainer's, that of abort().
bool dies_of_error(int script_exit) {
  constexpr std::array kCodes = {1, 3, 134};
  return std::find(kCodes.begin(), kCodes.end(), script_exit) != kCodes.end();
}

DryRunVerdict verdict_of(const DryRun& run) {
  const bool failed = run.script_exit != 0;
  constexpr int kInterrupt = 130, kTerminate = 143;
  const bool interrupted = run.script_exit == kInterrupt || run.script_exit == kTerminate;
  if (run.gpus.empty() && interrupted) return DryRunVerdict::kInterrupted;
  if (run.gpus.empty() && run.lost_processes > 0 && !failed) return DryRunVerdict::kIncomplete;
  if (run.gpus.empty()) return failed ? DryRunVerdict::kScriptFailed : DryRunVerdict::kNoCuda;
  // A refused call may be what the program failed of, or what hid an allocation: both leave the question open.
  if (!run.unmodelled.empty()) return DryRunVerdict::kIncomplete;
  if (interrupted && run.out_of_memory_errors() == 0) return DryRunVerdict::kInterrupted;
  if (failed) {
    return run.out_of_memory_errors() > 0 && dies_of_error(run.script_exit) ? DryRunVerdict::kDoesNotFit
                                                                            : DryRunVerdict::kScriptFailed;
  }
  if (run.lost_processes > 0) return DryRunVerdict::kIncomplete;
  // Processes that could not see each other.
  if (std::any_of(run.gpus.begin(), run.gpus.end(), [](const DryRunGpu& gpu) { return gpu.left() < Bytes(0); }))
    return DryRunVerdict::kDoesNotFit;
  return run.retries() > 0 ? DryRunVerdict::kFitsWithRetries : DryRunVerdict::kFits;
}

/// Several processes on a card: what they held at the same moment is what counts.
void judge_together(DryRun& run, DryRunGpu& gpu, const OnCard* on_card) {
  if (on_card == nullptr) return;
  if (on_card->together_peak) gpu.device_peak = *on_card->together_peak;
  if (on_card->shares.size() < 2) return;
  run.notes.push_back(fmt::format(
      "{} processes were on GPU {} at the same time: what PyTorch allocated and reserved is the sum of each one's own "
      "peak, which need not have been at the same moment; phases and parts are of the one that held most",
      on_card->shares.size(), gpu.index));
}

/// Processes in which our part of PyTorch's side is missing, and those that are not on the emulated cards at all.
void add_notes_on_blind_spots(DryRun& run, const std::vector<std::string>& names, std::int64_t unhooked) {
  if (unhooked > 0) {
    run.notes.push_back(fmt::format(
        "of {} with PyTorch only the device memory was measured, as vramwise's own Python code was not loaded (python "
        "-I, -E and -S don't look at PYTHONPATH): phases, optimizer steps, PyTorch's counters and the parts of the "
        "peak are missing, data loaders ran to their end, small values on the card were not true, and uploads to the "
        "hub were not held back",
        unhooked == 1 ? "a process" : fmt::format("{} processes", unhooked)));
  }
  const auto outside =
      std::count_if(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("outside."); });
  if (outside > 0) {
    run.notes.push_back(fmt::format(
        "{} with PyTorch ran beside the emulated cards, as its environment was cleared: what it took of a card is not "
        "in this report, and where the machine has a real one, that is what it saw",
        outside == 1 ? "a process" : fmt::format("{} processes", outside)));
  }
}

/// What the hook has to say, once for all processes: note.*.
Status add_notes_of_hook(DryRun& run, const std::string& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (!name.starts_with("note.")) continue;
    VRAMWISE_ASSIGN_OR_RETURN(auto text, read_file(join_path(folder, name)));
    if (std::ranges::find(run.notes, text) == run.notes.end()) run.notes.push_back(std::move(text));
  }
  return Done{};
}

/// "torch.7.json" → FOLDER/history.7.pickle
std::string history_of(const std::string& folder, const std::string& name) {
  const std::size_t from = name.find('.'), to = name.rfind('.');
  return join_path(folder, "history" + name.substr(from, to - from) + ".pickle");
}

}  // namespace

Result<DryRun> read_dry_run(const std::string& folder, int script_exit, const std::vector<Bytes>& workspaces) {
  DryRun run;
  run.script_exit = script_exit;
  VRAMWISE_ASSIGN_OR_RETURN(auto names, list_folder(folder));
  VRAMWISE_ASSIGN_OR_RETURN(const auto processes, SeenProcesses::read(folder, names));
  for (const std::string& name : names) {
    if (name.starts_with("alive.") && !path_exists(join_path(folder, "ledger." + id_of_process(name) + ".json")))
      ++run.lost_processes;
  }
  std::sort(names.begin(), names.end());  // "ledger.…" before "torch.…": PyTorch's count of errors is the better one
  std::int64_t unhooked = 0;
  for (const std::string& name : names) {
    if (!name.ends_with(".json")) continue;  // a history is read with its counters
    VRAMWISE_ASSIGN_OR_RETURN(const auto text, read_file(join_path(folder, name)));
    VRAMWISE_ASSIGN_OR_RETURN(const auto json, parse_json(text, name));
    if (json.value("python_torch", false) && !path_exists(join_path(folder, "hook." + id_of_process(name)))) ++unhooked;
    VRAMWISE_RETURN_IF_ERROR(
        name.starts_with("torch.")
            ? add_torch_counters(run, json, history_of(folder, name), id_of_process(name), processes, workspaces)
        : name.starts_with("ranks.") ? add_rank(run, json)
                                     : add_emulator_ledger(run, json, id_of_process(name), processes));
  }
  std::sort(run.gpus.begin(), run.gpus.end(), [](const DryRunGpu& a, const DryRunGpu& b) { return a.index < b.index; });
  for (DryRunGpu& gpu : run.gpus) judge_together(run, gpu, processes.on(gpu.index));
  add_notes_on_blind_spots(run, names, unhooked);
  VRAMWISE_RETURN_IF_ERROR(add_notes_of_hook(run, folder, names));
  run.verdict = verdict_of(run);
  return run;
}

}  // namespace vramwise
