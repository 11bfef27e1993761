// What follows from the figures, and their JSON.
#include "dryrun/ledger.h"

#include <algorithm>

#include "base/json.h"

namespace vramwise {
namespace {

Json peak_json(const std::optional<DryRunPeak>& peak) {
  if (!peak) return nullptr;
  return {{"bytes", peak->bytes.count()}, {"step", peak->step}, {"phase", peak->phase}};
}

Json phase_json(const DryRunPhase& phase) {
  return {{"name", phase.name},
          {"allocated_peak", peak_json(phase.allocated)},
          {"reserved_peak", peak_json(phase.reserved)},
          {"device_peak", peak_json(phase.device)}};
}

Json tensors_json(const PeakTensors& tensors) {
  return {{"owner", to_string(tensors.owner)},
          {"bytes", tensors.each.count()},
          {"count", tensors.count},
          {"name", tensors.name},
          {"line", tensors.line},
          {"user_line", tensors.user_line}};
}

/// The parts of the device's peak; they add up to it.
Json parts_json(const DryRunGpu& gpu) {
  Json parts = Json::object();
  for (const auto& [name, bytes] : gpu.parts()) parts[name] = bytes.count();
  return parts;
}

Json at_peak_json(const DryRunGpu& gpu) {
  if (!gpu.way) return nullptr;
  Json largest = Json::array();
  for (const PeakTensors& tensors : gpu.way->peak.largest) largest.push_back(tensors_json(tensors));
  return {{"phase", gpu.way->peak.phase},
          {"step", gpu.way->peak.step},
          {"parts_bytes", parts_json(gpu)},
          {"largest", std::move(largest)},
          {"history_is_whole", gpu.way->peak.history_is_whole}};
}

Json gpu_json(const DryRunGpu& gpu) {
  Json phases = Json::array();
  for (const DryRunPhase& phase : gpu.phases) phases.push_back(phase_json(phase));
  return {{"index", gpu.index},
          {"name", gpu.name},
          {"total_bytes", gpu.total.count()},
          {"context_bytes", gpu.context.count()},
          {"allocated_peak", peak_json(gpu.allocated)},
          {"reserved_peak", peak_json(gpu.reserved)},
          {"device_peak_bytes", gpu.device_peak.count()},
          {"left_bytes", gpu.left().count()},
          {"phases", std::move(phases)},
          {"at_peak", at_peak_json(gpu)},
          {"retries", gpu.retries},
          {"out_of_memory_errors", gpu.out_of_memory_errors}};
}

Json with_lag_json(const DryRun& run) {
  if (!run.with_lag) return nullptr;
  Json gpus = Json::array();
  for (const DryRunGpu& gpu : run.with_lag->gpus) gpus.push_back(gpu_json(gpu));
  return {{"verdict", to_string(run.with_lag->verdict)}, {"gpus", std::move(gpus)}};
}

Json beyond_json(const DryRun& run) {
  Json gpus = Json::array();
  for (const DryRunGpu& gpu : run.beyond) gpus.push_back(gpu_json(gpu));
  return run.beyond.empty() ? Json(nullptr) : gpus;
}

Json value_check_json(const DryRun& run) {
  if (!run.value_check) return nullptr;
  Json gpus = Json::array();
  for (const DryRunGpu& gpu : run.value_check->gpus) gpus.push_back(gpu_json(gpu));
  return {{"difference", run.value_check->difference},
          {"first_verdict", to_string(run.value_check->first)},
          {"second_verdict", to_string(run.value_check->second)},
          {"second_gpus", std::move(gpus)}};
}

}  // namespace

std::vector<std::pair<std::string, Bytes>> DryRunGpu::parts() const {
  std::vector<std::pair<std::string, Bytes>> parts;
  if (!way) return parts;
  for (int owner = 0; owner < kMemoryOwners; ++owner) {
    const Bytes bytes(way->peak.by_owner[static_cast<std::size_t>(owner)]);
    parts.emplace_back(to_string(static_cast<MemoryOwner>(owner)), bytes);
  }
  const DryRunShare own = share.value_or(
      DryRunShare{.peak = device_peak, .context = context, .reserved = reserved ? reserved->bytes : Bytes(0)});
  const auto rest = [](Bytes bytes) { return std::max(bytes, Bytes(0)); };
  parts.emplace_back("unused by PyTorch", rest(own.reserved - way->peak.allocated));
  parts.emplace_back("CUDA context", own.context);
  parts.emplace_back("outside PyTorch", rest(own.peak - own.context - own.reserved));
  if (share) parts.emplace_back("other processes", rest(device_peak - own.peak));
  return parts;
}

std::vector<std::string> DryRun::phases_not_reached() const {
  std::vector<std::string> missing;
  bool seen = false;
  for (const char* name : kPhases) {
    const auto has = [&](const DryRunGpu& gpu) {
      return std::any_of(gpu.phases.begin(), gpu.phases.end(), [&](const DryRunPhase& p) { return p.name == name; });
    };
    const bool reached = std::any_of(gpus.begin(), gpus.end(), has);
    seen = seen || reached;
    if (!reached) missing.emplace_back(name);
  }
  return seen ? missing : std::vector<std::string>();
}

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

bool ValueCheck::decides() const {
  const auto fits = [](DryRunVerdict v) { return v == DryRunVerdict::kFits || v == DryRunVerdict::kFitsWithRetries; };
  return fits(first) != fits(second);
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
    case DryRunVerdict::kInterrupted:
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
    case DryRunVerdict::kInterrupted:
      return "interrupted";
    case DryRunVerdict::kScriptFailed:
      return "script failed";
  }
  return "incomplete";
}

Json to_json(const DryRun& run) {
  Json gpus = Json::array();
  for (const DryRunGpu& gpu : run.gpus) gpus.push_back(gpu_json(gpu));
  return {{"schema", "vramwise.dryrun"},
          {"schema_version", 1},
          {"verdict", to_string(run.verdict)},
          {"script_exit", run.script_exit},
          {"gpus", std::move(gpus)},
          {"pinned_host_peak_bytes", run.pinned_host_peak.count()},
          {"rank", run.rank ? Json(run.rank->rank) : Json(nullptr)},
          {"world_size", run.rank ? Json(run.rank->world_size) : Json(nullptr)},
          {"host_peak_bytes", run.host_peak.count()},
          {"steps", run.steps},
          {"beyond", beyond_json(run)},
          {"value_check", value_check_json(run)},
          {"lag", run.lags},
          {"with_lag", with_lag_json(run)},
          {"context_is_given", run.context_is_given},
          {"phases_not_reached", run.phases_not_reached()},
          {"notes", run.notes},
          {"values", run.values.empty() ? Json(nullptr) : Json::parse(run.values)},
          {"loaders_ended_early", run.loaders_ended},
          {"torch", run.torch.empty() ? Json(nullptr) : Json(run.torch)},
          {"unmodelled", run.unmodelled},
          {"assumed", run.assumed}};
}

}  // namespace vramwise
