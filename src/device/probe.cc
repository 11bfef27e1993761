// The order of asking: the kernel first (memory, bus), then each vendor, then what CUDA_VISIBLE_DEVICES leaves.
//
// NVML numbers cards by PCI address, CUDA puts the fastest first unless CUDA_DEVICE_ORDER=PCI_BUS_ID. CUDA's measure of
// speed is not published; with cards of one model both orders are the same, otherwise we sort by CUDA cores x clock and
// say that the order is a guess.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "device/host_memory.h"
#include "device/machine.h"
#include "device/system.h"
#include "device/vendors.h"
#include "device/visible_devices.h"

namespace vramwise {
namespace {

bool is_wsl(System& system) {
  const std::string release = to_lower(read_line(system, "/proc/sys/kernel/osrelease").value_or(""));
  return release.find("microsoft") != std::string::npos;
}

bool in_container(System& system) {
  if (system.exists("/.dockerenv") || system.exists("/run/.containerenv")) return true;
  if (system.environment("KUBERNETES_SERVICE_HOST") || system.environment("APPTAINER_CONTAINER")) return true;
  const std::string groups = system.read_file("/proc/1/cgroup").value_or("");
  constexpr std::array kMarks = {"docker", "kubepods", "lxc", "containerd"};
  return std::any_of(kMarks.begin(), kMarks.end(),
                     [&](const char* mark) { return groups.find(mark) != std::string::npos; });
}

double speed_of(const Gpu& gpu) { return gpu.relative_speed.value_or(0); }

// The cards that CUDA can number, in its order: indices into `gpus`.
std::vector<std::size_t> cuda_order(const std::vector<Gpu>& gpus, Visibility& visibility) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    if (gpus[i].vendor == GpuVendor::kNvidia && !gpus[i].failure) order.push_back(i);
  }
  const bool one_model =
      std::all_of(order.begin(), order.end(), [&](std::size_t i) { return gpus[i].name == gpus[order.front()].name; });
  if (visibility.pci_bus_order || one_model) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return speed_of(gpus[a]) > speed_of(gpus[b]); });
  visibility.order_certain = false;
  visibility.notes.emplace_back(
      "the cards are of different models: CUDA numbers the fastest first, which is not nvidia-smi's order; the numbers "
      "shown are our guess of it (set CUDA_DEVICE_ORDER=PCI_BUS_ID to have one order everywhere)");
  return order;
}

VisibleCandidate candidate_of(const Gpu& gpu) {
  VisibleCandidate candidate{.uuid = gpu.uuid, .mig = gpu.mig.value_or(false), .instances = {}};
  for (const MigInstance& instance : gpu.mig_instances) {
    candidate.instances.push_back({instance.uuid, instance.gpu_instance, instance.compute_instance});
  }
  return candidate;
}

void number_cuda_devices(Machine& machine) {
  const auto order = cuda_order(machine.gpus, machine.visibility);
  std::vector<VisibleCandidate> candidates;
  for (const std::size_t gpu : order) {
    candidates.push_back(candidate_of(machine.gpus[gpu]));
    machine.gpus[gpu].hidden = true;
  }
  const VisibleDevices visible = visible_devices(machine.visibility.cuda_visible_devices, candidates);
  for (std::size_t n = 0; n < visible.devices.size(); ++n) {
    Gpu& gpu = machine.gpus[order[visible.devices[n].card]];
    gpu.hidden = false;
    auto& number =
        visible.devices[n].instance ? gpu.mig_instances[*visible.devices[n].instance].cuda_index : gpu.cuda_index;
    number = static_cast<int>(n);
  }
  auto& notes = machine.visibility.notes;
  notes.insert(notes.end(), visible.notes.begin(), visible.notes.end());
}

void note_hidden(Machine& machine) {
  std::vector<std::string> names;
  for (const Gpu& gpu : machine.gpus) {
    const bool without_instance = gpu.mig == true && gpu.mig_instances.empty();
    if (gpu.hidden == true && !without_instance) names.push_back(fmt::format("GPU {} ({})", gpu.index, gpu.name));
  }
  const auto& variable = machine.visibility.cuda_visible_devices;
  // An empty one is explained by visible_devices().
  if (names.empty() || !variable || variable->empty()) return;
  machine.visibility.notes.push_back(
      fmt::format("CUDA_VISIBLE_DEVICES={} hides {}", *variable, fmt::join(names, ", ")));
}

Visibility read_visibility(System& system) {
  Visibility visibility;
  visibility.cuda_visible_devices = system.environment("CUDA_VISIBLE_DEVICES");
  visibility.nvidia_visible_devices = system.environment("NVIDIA_VISIBLE_DEVICES");
  visibility.pci_bus_order = system.environment("CUDA_DEVICE_ORDER") == "PCI_BUS_ID";
  return visibility;
}

}  // namespace

Result<Machine> probe(System& system) {
  Machine machine;
  machine.wsl = is_wsl(system);
  machine.container = in_container(system);
  machine.host = probe_host_memory(system);
  machine.pci_cards = probe_pci(system);
  machine.visibility = read_visibility(system);
  probe_nvidia(system, machine);
  for (auto& gpus : {probe_amd(system), probe_intel(system)}) {
    machine.gpus.insert(machine.gpus.end(), gpus.begin(), gpus.end());
  }
  number_cuda_devices(machine);
  note_hidden(machine);
  if (!machine.host.total) machine.warnings.emplace_back("/proc/meminfo could not be read: host memory is unknown");
  if (!machine.host.total && machine.gpus.empty()) {
    return world_error("neither a graphics card nor the host's memory could be read (no /proc/meminfo)",
                       "vramwise detect needs Linux with /proc mounted");
  }
  return machine;
}

const char* vendor_key(GpuVendor vendor) {
  switch (vendor) {
    case GpuVendor::kNvidia:
      return "nvidia";
    case GpuVendor::kAmd:
      return "amd";
    case GpuVendor::kIntel:
      return "intel";
    case GpuVendor::kUnknown:
      break;
  }
  return "unknown";
}

std::optional<Bytes> CardMemory::available() const {
  const std::optional<Bytes> total = cuda_total ? cuda_total : nvml_total;
  if (!total) return std::nullopt;
  return std::max(*total - used_by_others.value_or(Bytes(0)), Bytes(0));
}

std::vector<CudaDevice> Machine::cuda_devices() const {
  std::vector<CudaDevice> devices;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    const Gpu& gpu = gpus[i];
    if (gpu.cuda_index) {
      devices.push_back({*gpu.cuda_index, i, std::nullopt, gpu.name, gpu.capability, gpu.memory, gpu.unified_memory});
    }
    for (std::size_t m = 0; m < gpu.mig_instances.size(); ++m) {
      const MigInstance& instance = gpu.mig_instances[m];
      if (!instance.cuda_index) continue;
      devices.push_back({*instance.cuda_index, i, m, instance.name, gpu.capability, instance.memory, false});
    }
  }
  std::sort(devices.begin(), devices.end(), [](auto& a, auto& b) { return a.cuda_index < b.cuda_index; });
  return devices;
}

}  // namespace vramwise
