// Three kinds of files: the emulator's ledgers (what each process took of each card), PyTorch's own counters, and which
// rank of many the program was.
#include "dryrun/ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "io/files.h"

namespace vramwise {
namespace {

DryRunGpu& gpu_at(DryRun& run, std::int64_t index) {
  const auto found =
      std::find_if(run.gpus.begin(), run.gpus.end(), [&](const DryRunGpu& g) { return g.index == index; });
  if (found != run.gpus.end()) return *found;
  run.gpus.emplace_back().index = index;
  return run.gpus.back();
}

Result<Bytes> get_bytes(const Json& json, const char* key) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto count, json_get<std::int64_t>(json, key));
  return Bytes(count);
}

Status add_device(DryRun& run, const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto peak, get_bytes(json, "peak_bytes"));
  if (peak == Bytes(0)) return Done{};  // seen, but not used
  VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(json, "index"));
  DryRunGpu& gpu = gpu_at(run, index);
  VRAMWISE_ASSIGN_OR_RETURN(gpu.name, json_get<std::string>(json, "name"));
  VRAMWISE_ASSIGN_OR_RETURN(gpu.total, get_bytes(json, "total_bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto context, get_bytes(json, "context_bytes"));
  gpu.context += context;
  gpu.device_peak += peak;
  gpu.out_of_memory_errors += static_cast<std::int64_t>(json.value("out_of_memory", Json::array()).size());
  return Done{};
}

void add_counts(const Json& json, const char* key, std::map<std::string, std::int64_t>& into) {
  const Json counts = json.value(key, Json::object());
  for (const auto& [name, count] : counts.items()) into[name] += count.get<std::int64_t>();
}

Status add_emulator_ledger(DryRun& run, const Json& json) {
  for (const Json& device : json.value("devices", Json::array())) VRAMWISE_RETURN_IF_ERROR(add_device(run, device));
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

Status add_torch_device(DryRun& run, const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto index, json_get<std::int64_t>(json, "index"));
  DryRunGpu& gpu = gpu_at(run, index);
  const auto peak = [&](const std::string& kind) -> Result<DryRunPeak> {
    VRAMWISE_ASSIGN_OR_RETURN(const auto count, json_get<std::int64_t>(json, kind + "_peak_bytes"));
    VRAMWISE_ASSIGN_OR_RETURN(const auto step, json_get<std::int64_t>(json, kind + "_peak_step"));
    return DryRunPeak{.bytes = Bytes(count), .step = step};
  };
  VRAMWISE_ASSIGN_OR_RETURN(gpu.allocated, peak("allocated"));
  VRAMWISE_ASSIGN_OR_RETURN(gpu.reserved, peak("reserved"));
  VRAMWISE_ASSIGN_OR_RETURN(gpu.retries, json_get<std::int64_t>(json, "retries"));
  VRAMWISE_ASSIGN_OR_RETURN(gpu.out_of_memory_errors, json_get<std::int64_t>(json, "ooms"));
  return Done{};
}

Status add_torch_counters(DryRun& run, const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(run.torch, json_get<std::string>(json, "torch"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto steps, json_get<std::int64_t>(json, "steps"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto ended, json_get<std::int64_t>(json, "loaders_ended"));
  run.steps = std::max(run.steps, steps);
  run.loaders_ended += ended;
  for (const Json& device : json.value("devices", Json::array()))
    VRAMWISE_RETURN_IF_ERROR(add_torch_device(run, device));
  return Done{};
}

DryRunVerdict verdict_of(const DryRun& run) {
  const bool failed = run.script_exit != 0;
  if (run.gpus.empty()) return failed ? DryRunVerdict::kScriptFailed : DryRunVerdict::kNoCuda;
  // A refused call may be what the program failed of, or what hid an allocation: both leave the question open.
  if (!run.unmodelled.empty()) return DryRunVerdict::kIncomplete;
  if (failed) return run.out_of_memory_errors() > 0 ? DryRunVerdict::kDoesNotFit : DryRunVerdict::kScriptFailed;
  return run.retries() > 0 ? DryRunVerdict::kFitsWithRetries : DryRunVerdict::kFits;
}

Json peak_json(const std::optional<DryRunPeak>& peak) {
  if (!peak) return nullptr;
  return {{"bytes", peak->bytes.count()}, {"step", peak->step}};
}

Json gpu_json(const DryRunGpu& gpu) {
  return {{"index", gpu.index},
          {"name", gpu.name},
          {"total_bytes", gpu.total.count()},
          {"context_bytes", gpu.context.count()},
          {"allocated_peak", peak_json(gpu.allocated)},
          {"reserved_peak", peak_json(gpu.reserved)},
          {"device_peak_bytes", gpu.device_peak.count()},
          {"left_bytes", gpu.left().count()},
          {"retries", gpu.retries},
          {"out_of_memory_errors", gpu.out_of_memory_errors}};
}

}  // namespace

std::int64_t DryRun::retries() const {
  std::int64_t sum = 0;
  for (const DryRunGpu& gpu : gpus) sum += gpu.retries;
  return sum;
}

std::int64_t DryRun::out_of_memory_errors() const {
  std::int64_t sum = 0;
  for (const DryRunGpu& gpu : gpus) sum += gpu.out_of_memory_errors;
  return sum;
}

int DryRun::exit_code() const {
  switch (verdict) {
    case DryRunVerdict::kFits:
    case DryRunVerdict::kFitsWithRetries:
      return 0;
    case DryRunVerdict::kDoesNotFit:
      return static_cast<int>(ErrorCode::kDoesNotFit);
    case DryRunVerdict::kIncomplete:
    case DryRunVerdict::kNoCuda:
      return static_cast<int>(ErrorCode::kIncomplete);
    case DryRunVerdict::kScriptFailed:
      return script_exit;
  }
  return static_cast<int>(ErrorCode::kIncomplete);
}

std::string to_string(DryRunVerdict verdict) {
  switch (verdict) {
    case DryRunVerdict::kFits:
      return "fits";
    case DryRunVerdict::kFitsWithRetries:
      return "fits with retries";
    case DryRunVerdict::kDoesNotFit:
      return "does not fit";
    case DryRunVerdict::kIncomplete:
      return "incomplete";
    case DryRunVerdict::kNoCuda:
      return "no CUDA";
    case DryRunVerdict::kScriptFailed:
      return "script failed";
  }
  return "incomplete";
}

Result<DryRun> read_dry_run(const std::string& folder, int script_exit) {
  DryRun run;
  run.script_exit = script_exit;
  VRAMWISE_ASSIGN_OR_RETURN(auto names, list_folder(folder));
  std::sort(names.begin(), names.end());  // "ledger.…" before "torch.…": PyTorch's count of errors is the better one
  for (const std::string& name : names) {
    if (!name.ends_with(".json")) continue;
    VRAMWISE_ASSIGN_OR_RETURN(const auto text, read_file(join_path(folder, name)));
    VRAMWISE_ASSIGN_OR_RETURN(const auto json, parse_json(text, name));
    VRAMWISE_RETURN_IF_ERROR(name.starts_with("torch.")   ? add_torch_counters(run, json)
                             : name.starts_with("ranks.") ? add_rank(run, json)
                                                          : add_emulator_ledger(run, json));
  }
  std::sort(run.gpus.begin(), run.gpus.end(), [](const DryRunGpu& a, const DryRunGpu& b) { return a.index < b.index; });
  run.verdict = verdict_of(run);
  return run;
}

Json to_json(const DryRun& run) {
  Json gpus = Json::array();
  for (const DryRunGpu& gpu : run.gpus) gpus.push_back(gpu_json(gpu));
  return {{"verdict", to_string(run.verdict)},
          {"script_exit", run.script_exit},
          {"gpus", std::move(gpus)},
          {"pinned_host_peak_bytes", run.pinned_host_peak.count()},
          {"rank", run.rank ? Json(run.rank->rank) : Json(nullptr)},
          {"world_size", run.rank ? Json(run.rank->world_size) : Json(nullptr)},
          {"steps", run.steps},
          {"loaders_ended_early", run.loaders_ended},
          {"torch", run.torch.empty() ? Json(nullptr) : Json(run.torch)},
          {"unmodelled", run.unmodelled},
          {"assumed", run.assumed}};
}

}  // namespace vramwise
