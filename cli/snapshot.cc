// vramwise snapshot: what a memory snapshot of PyTorch tells, and what would have changed it.
#include "allocator/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "allocator/snapshot_analysis.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/snapshot_report.h"
#include "gpus/cuda_facts.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

namespace vramwise::cli {
namespace {

constexpr std::int64_t kLargestFile = std::int64_t{16} << 30;

struct SnapshotArguments {
  std::string file;
  std::string gpu;
  std::optional<int> device;
  int top = 10;
  bool as_json = false;
};

Result<WhatIfCard> card_of(const std::string& spec, std::vector<std::string>& notes) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto cards, parse_gpu_spec(spec));
  if (cards.size() != 1) return usage_error(fmt::format("--gpu {}: one card is tried at a time", spec));
  const GpuModel& card = cards.front();
  if (!card.cuda_total)
    return usage_error(fmt::format("--gpu {}: how much memory that card gives is decided by its system", spec),
                       fmt::format("name an amount: --gpu {}:16gb", card.id));
  WhatIfCard result = {.name = card.id, .limits = {.total_bytes = card.cuda_total->count()}};
  if (!card.compute_capability) {
    notes.push_back(fmt::format("{}: what its driver takes is not known and not subtracted", card.id));
    return result;
  }
  const CudaContext context = cuda_context(*card.compute_capability, kWheelCudaMajor, card.units);
  result.limits.taken_bytes = context.bytes.count();
  notes.push_back(fmt::format("{}: {} less {} for the CUDA context{}", card.id, format_size(*card.cuda_total),
                              format_size(context.bytes), context.measured ? "" : " (not measured on such a card)"));
  return result;
}

Result<std::vector<std::size_t>> chosen_devices(const SnapshotArguments& arguments, const MemorySnapshot& snapshot) {
  std::vector<std::size_t> there = devices_of(snapshot);
  if (!arguments.device) return there;
  const auto chosen = static_cast<std::size_t>(*arguments.device);
  if (std::find(there.begin(), there.end(), chosen) == there.end()) {
    return usage_error(fmt::format("--device {}: the snapshot has nothing of it", chosen),
                       fmt::format("Devices in it: {}.", fmt::join(there, ", ")));
  }
  return std::vector{chosen};
}

Outcome show(const SnapshotArguments& arguments) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string bytes, read_file(arguments.file, kLargestFile));
  VRAMWISE_ASSIGN_OR_RETURN(const MemorySnapshot snapshot, read_snapshot(bytes, arguments.file));
  SnapshotReport report = {.file = arguments.file,
                           .snapshot = snapshot,
                           .devices = {},
                           .notes = snapshot.notes,
                           .top = static_cast<std::size_t>(arguments.top)};
  std::optional<WhatIfCard> card;
  if (!arguments.gpu.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(card, card_of(arguments.gpu, report.notes));
  }
  bool fits = true;
  VRAMWISE_ASSIGN_OR_RETURN(const auto devices, chosen_devices(arguments, snapshot));
  for (const std::size_t device : devices) {
    VRAMWISE_ASSIGN_OR_RETURN(SnapshotAnalysis analysis, analyze_snapshot(snapshot, device, card));
    for (const WhatIf& each : analysis.what_if)
      if (card && each.name == card->name) fits = fits && each.replay.fits();
    if (analysis.traced.private_allocations > 0)
      report.notes.push_back(
          fmt::format("device {}: {} allocations in private pools (CUDA graphs) are replayed like others", device,
                      analysis.traced.private_allocations));
    report.devices.push_back(std::move(analysis));
  }
  if (arguments.as_json) {
    fmt::print("{}\n", snapshot_json(report).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", snapshot_text(report));
  }
  return fits ? kExitDone : static_cast<int>(ErrorCode::kDoesNotFit);
}

}  // namespace

void add_snapshot_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("snapshot", "Read a memory snapshot of PyTorch: peak, owners, fragmentation");
  auto arguments = std::make_shared<SnapshotArguments>();
  command->add_option("file", arguments->file, "What torch.cuda.memory._dump_snapshot() wrote (.pickle), or JSON")
      ->required();
  command->add_option("--gpu", arguments->gpu, "A card to try the same allocations on: rtx-4060, 12gb, …");
  command->add_option("--device", arguments->device, "Only this device of the snapshot")->check(CLI::Range(0, 255));
  command->add_option("--top", arguments->top, "How many places of the program to list")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->callback([arguments, &outcome] { outcome = show(*arguments); });
}

}  // namespace vramwise::cli
