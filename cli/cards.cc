// Cards of three origins brought to one form: what may be planned with, what the estimate must add, how fast they are
// against each other.
#include "cli/cards.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "base/text.h"
#include "base/units.h"
#include "device/processor.h"
#include "gpus/catalogue.h"
#include "gpus/cuda_facts.h"
#include "gpus/gpu_spec.h"
#include "plan/catalogue_card.h"

namespace vramwise::cli {
namespace {

// Speeds of different kinds (TFLOP/s, GB/s, none) do not compare: unless all cards are known, all count as equal.
void equalize_unless_known(std::vector<Card>& cards, const std::vector<const GpuModel*>& models) {
  const bool known = std::all_of(models.begin(), models.end(),
                                 [](const GpuModel* model) { return model != nullptr && model->tflops.fp16; });
  if (known) return;
  for (Card& card : cards) card.relative_speed = 1.0;
}

/// As many as torch will use: OMP_NUM_THREADS, else the processors that this process may run on.
std::int64_t compute_threads() {
  const char* asked = std::getenv("OMP_NUM_THREADS");
  const std::optional<std::int64_t> count = asked != nullptr ? parse_integer(asked) : std::nullopt;
  if (count && *count >= 1) return *count;
  return std::max<std::int64_t>(1, std::thread::hardware_concurrency());
}

std::string cpu_name(const Machine& machine) { return machine.host.cpu_name.value_or("unknown CPU"); }

Card card_of(const CudaDevice& device, Bytes budget) {
  const GpuModel* model = find_by_nvml_name(device.name, device.memory.nvml_total);
  return {.name = device.name,
          .backend = Backend::kCuda,
          .device = fmt::format("cuda:{}", device.cuda_index),
          .shown_total = device.memory.nvml_total.value_or(device.memory.cuda_total.value_or(budget)),
          .budget = budget,
          .has_bf16 = device.capability.value_or(kAssumedCapability) >= kFirstWithBf16,
          .relative_speed = speed_of(model),
          .target = cuda_target(device.capability, model != nullptr ? model->units : std::nullopt),
          .rates = model != nullptr ? device_rates(*model) : DeviceRates()};
}

/// Unified memory has no total of its own: what the host may still give is what the card may take.
std::optional<Bytes> budget_of(const CudaDevice& device, const HostMemory& host) {
  const std::optional<Bytes> own = device.memory.available();
  if (!device.unified_memory) return own;
  const std::optional<Bytes> shared = host.budget();
  if (own && shared) return std::min(*own, *shared);
  return own ? own : shared;
}

std::string uuid_of(const Machine& machine, const CudaDevice& device) {
  const Gpu& gpu = machine.gpus[device.gpu];
  return device.mig ? gpu.mig_instances[*device.mig].uuid : gpu.uuid;
}

/// Cards that `require` refuses are left out with a note, unless none is left.
Result<CardSet> cuda_cards(const Machine& machine, const std::function<Status(const CudaDevice&)>& require) {
  CardSet set;
  std::vector<const GpuModel*> models;
  std::optional<Error> refused;
  for (const CudaDevice& device : machine.cuda_devices()) {
    const std::optional<Bytes> budget = budget_of(device, machine.host);
    Status usable = require(device);
    if (usable.ok() && !budget) {
      usable = world_error(fmt::format("the memory of {} (cuda:{}) is not known", device.name, device.cuda_index),
                           "`vramwise doctor` says why.");
    }
    if (!usable.ok()) {
      set.notes.push_back(fmt::format("cuda:{} is left out: {}", device.cuda_index, usable.error().what));
      if (!refused) refused = usable.error();
      continue;
    }
    set.cards.push_back(card_of(device, *budget));
    set.cards.back().uuid = uuid_of(machine, device);
    models.push_back(find_by_nvml_name(device.name, device.memory.nvml_total));
  }
  if (set.cards.empty() && refused) return *refused;
  equalize_unless_known(set.cards, models);
  for (const std::string& note : machine.visibility.notes) set.notes.push_back(note);
  return set;
}

bool is_card_of_its_own(const Gpu& gpu) { return !gpu.integrated && !gpu.unified_memory; }

/// AMD and Intel cards: estimated as if they were CUDA devices, and said to be so.
CardSet unverified_cards(const Machine& machine) {
  CardSet set;
  for (const Gpu& gpu : machine.gpus) {
    const std::optional<Bytes> budget = gpu.memory.available();
    if (gpu.vendor == GpuVendor::kNvidia || !is_card_of_its_own(gpu) || !budget) continue;
    set.cards.push_back({.name = gpu.name,
                         .device = fmt::format("gpu:{}", gpu.index),
                         .shown_total = gpu.memory.nvml_total.value_or(*budget),
                         .budget = *budget,
                         .target = cuda_target(std::nullopt)});
    set.notes.push_back(fmt::format(
        "{}: estimated with the operators of CUDA; not verified on this vendor's cards, and training on it is refused",
        gpu.name));
  }
  return set;
}

/// What CUDA would number by a rule of its own gets the numbers of this list, for the trainer sees these cards only.
void number_by_uuid(CardSet& set) {
  const bool known =
      std::all_of(set.cards.begin(), set.cards.end(), [](const Card& card) { return !card.uuid.empty(); });
  for (std::size_t i = 0; known && i < set.cards.size(); ++i) set.cards[i].device = fmt::format("cuda:{}", i);
}

Status require_usable(const Machine& machine, const CudaDevice& device) {
  const std::optional<DriverVersion> driver = parse_driver_version(machine.driver.nvidia_version.value_or(""));
  const TorchBuild& build = default_torch_build();
  const bool old_driver = driver && *driver < build.lowest_driver;
  const bool old_card = device.capability && !build.runs_on(*device.capability);
  if (!old_driver && !old_card) return Done{};
  std::string what = fmt::format("torch {}+{} cannot use {}", build.version, build.tag, device.name);
  if (old_driver)
    what += fmt::format(": it needs driver {} or later, and this is {}", to_string(build.lowest_driver),
                        to_string(*driver));
  if (old_card) what += fmt::format(": it has no code for compute capability {}", to_string(*device.capability));
  std::string remedy = old_driver && !old_card ? "Update the driver, or train on the CPU: --device cpu."
                                               : "Train on the CPU: --device cpu.";
  const TorchBuild* other = device.capability ? torch_build_for(*device.capability, driver) : nullptr;
  if (other != nullptr && other != &build) {
    remedy += fmt::format(" torch {}+{} would run on it, in an environment of your own.", other->version, other->tag);
  }
  return world_error(what, remedy);
}

}  // namespace

Result<CardSet> chosen_cards(const std::string& gpu_spec) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<GpuModel> models, parse_gpu_spec(gpu_spec));
  CardSet set;
  set.origin = CardOrigin::kChosen;
  std::vector<const GpuModel*> known;
  for (const GpuModel& model : models) {
    if (!model.cuda_total) {
      return usage_error(
          fmt::format("{} shares the host's memory, so the catalogue cannot know what it has", model.name),
          fmt::format("Say how much: --gpu {}:64gb.", model.id));
    }
    set.cards.push_back(catalogue_card(model, set.cards.size()));
    known.push_back(&model);
    if (model.compute_capability && !default_torch_build().runs_on(*model.compute_capability)) {
      const TorchBuild* other = torch_build_for(*model.compute_capability, std::nullopt);
      set.notes.push_back(fmt::format("{}: training on it needs another PyTorch than vramwise installs{}", model.name,
                                      other != nullptr ? fmt::format(", {}+{}", other->version, other->tag) : ""));
    }
    if (model.vendor != GpuVendor::kNvidia && model.vendor != GpuVendor::kUnknown) {
      set.notes.push_back(
          fmt::format("{}: estimated with the operators of CUDA; not verified on this vendor's cards", model.name));
    }
  }
  equalize_unless_known(set.cards, known);
  return set;
}

CardSet assumed_card(Bytes total) {
  CardSet set;
  set.origin = CardOrigin::kAssumed;
  set.cards.push_back({.name = fmt::format("a card with {} GB", format_gib(total)),
                       .device = "cuda:0",
                       .shown_total = total,
                       .budget = total,
                       .target = cuda_target(std::nullopt)});
  set.notes.push_back(fmt::format(
      "No GPU was found: planned for one card with CUDA's context as of compute capability {}; --gpu names a card",
      to_string(kAssumedCapability)));
  return set;
}

Result<CardSet> host_card(const Machine& machine) {
  const std::optional<Bytes> budget = machine.host.budget();
  if (!budget)
    return world_error("the memory of this host is not known: /proc/meminfo cannot be read",
                       "Give --vram, and --gpu for a card.");
  CardSet set;
  set.origin = CardOrigin::kHost;
  set.cards.push_back({.name = cpu_name(machine),
                       .backend = Backend::kCpu,
                       .device = "cpu",
                       .shown_total = machine.host.total.value_or(*budget),
                       .budget = *budget,
                       .target = {.backend = Backend::kCpu, .threads = compute_threads(), .has_avx512 = has_avx512()},
                       .rates = cpu_rates(compute_threads())});
  return set;
}

std::optional<Bytes> keep_to_cards(VramTarget& target, const CardSet& set) {
  if (target.kind == VramTarget::Kind::kAuto) return std::nullopt;
  Bytes real;
  for (const Card& card : set.cards) real += card.budget;
  if (target.total <= real) return std::nullopt;
  target.kind = VramTarget::Kind::kCustom;
  return std::exchange(target.total, real);
}

void leave_out_full_cards(CardSet& set, Bytes margin) {
  const auto is_full = [&](const Card& card) { return card.budget <= margin; };
  if (std::all_of(set.cards.begin(), set.cards.end(), is_full)) return;
  for (const Card& card : set.cards) {
    if (!is_full(card)) continue;
    set.notes.push_back(fmt::format("{} ({}) is left out: only {} of it is free, which the safety margin takes",
                                    card.device, card.name, format_size(card.budget)));
  }
  set.cards.erase(std::remove_if(set.cards.begin(), set.cards.end(), is_full), set.cards.end());
}

std::string visible_devices_of(const std::vector<Card>& cards) {
  std::vector<std::string> uuids;
  for (const Card& card : cards) {
    if (card.uuid.empty()) return {};
    uuids.push_back(card.uuid);
  }
  return fmt::format("{}", fmt::join(uuids, ","));
}

Result<CardSet> detected_cards(const Machine& machine) {
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, cuda_cards(machine, [](const CudaDevice&) { return Done{}; }));
  if (!set.cards.empty()) return set;
  CardSet others = unverified_cards(machine);
  if (!others.cards.empty()) return others;
  VRAMWISE_ASSIGN_OR_RETURN(CardSet host, host_card(machine));
  host.notes = set.notes;
  host.notes.emplace_back("No GPU was found: planned for the CPU and the host's memory");
  return host;
}

Result<CardSet> trainable_cards(const Machine& machine) {
  VRAMWISE_ASSIGN_OR_RETURN(
      CardSet set, cuda_cards(machine, [&](const CudaDevice& device) { return require_usable(machine, device); }));
  if (!set.cards.empty()) {
    number_by_uuid(set);
    return set;
  }
  const CardSet others = unverified_cards(machine);
  if (!others.cards.empty()) {
    return world_error(
        fmt::format("training on {} is not supported: only NVIDIA cards were tried", others.cards.front().name),
        "Train on the CPU: --device cpu.");
  }
  VRAMWISE_ASSIGN_OR_RETURN(CardSet host, host_card(machine));
  host.notes = set.notes;
  host.notes.emplace_back("No GPU was found: training on the CPU, with the host's memory as the budget");
  return host;
}

}  // namespace vramwise::cli
