// NVIDIA cards. NVML answers each question by itself, and any of them may be refused: in MIG mode, in a container, on
// unified memory, by an old driver, by a card that fell off the bus. A refusal leaves the value absent; a card whose
// handle can't be had is listed with the failure, since it still takes a place in the numbering.
//
// The two totals: CUDA's total is NVML's less what the driver and its firmware keep, which NVML reports as "reserved"
// from R510 on. That is how cuda_total is derived here; the exact figure needs a CUDA context, which costs memory.
// Older drivers tell no reserve: then the catalogue's for this model is taken.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "device/vendors.h"

namespace vramwise {
namespace {

constexpr std::uint32_t kNvidiaPci = 0x10de;

// Boards whose GPU has no memory of its own: Jetson Xavier, Orin, Thor (10.1 until CUDA 13 renamed it), GB10.
// https://developer.nvidia.com/cuda-gpus
constexpr std::array kUnifiedCapabilities = {ComputeCapability{7, 2}, ComputeCapability{8, 7}, ComputeCapability{10, 1},
                                             ComputeCapability{11, 0}, ComputeCapability{12, 1}};

// Jetson modules by the "compatible" string of their device tree, for systems without NVML (before JetPack 6).
struct Tegra {
  const char* compatible = "";
  ComputeCapability capability;
};
constexpr std::array kTegras = {Tegra{"nvidia,tegra210", {5, 3}}, Tegra{"nvidia,tegra186", {6, 2}},
                                Tegra{"nvidia,tegra194", {7, 2}}, Tegra{"nvidia,tegra234", {8, 7}},
                                Tegra{"nvidia,tegra264", {11, 0}}};

std::optional<Bytes> to_bytes(const std::optional<std::int64_t>& count) {
  return count ? std::optional(Bytes(*count)) : std::nullopt;
}

CardMemory own_memory(const NvmlMemory& raw, std::optional<Bytes> used_by_us) {
  CardMemory memory;
  memory.nvml_total = Bytes(raw.total);
  memory.free = Bytes(raw.free);
  memory.reserved = to_bytes(raw.reserved);
  if (memory.reserved) {
    memory.cuda_total = *memory.nvml_total - *memory.reserved;
    memory.cuda_total_source = TotalSource::kReserve;
  }
  // NVML's own "used" counts the reserve in some driver versions and not in others; this does not depend on it.
  memory.used = *memory.nvml_total - *memory.free - memory.reserved.value_or(Bytes(0));
  memory.used_by_others = std::max(*memory.used - used_by_us.value_or(Bytes(0)), Bytes(0));
  return memory;
}

// For drivers that tell no reserve. Where the total is far from the catalogue's, it is another card of that name.
void derive_cuda_total(const std::string& name, CardMemory& memory) {
  if (memory.cuda_total || !memory.nvml_total) return;
  const GpuModel* model = find_by_nvml_name(name, memory.nvml_total);
  if (model == nullptr || !model->nvml_total || !model->cuda_total) return;
  const Bytes difference = *memory.nvml_total - *model->nvml_total;
  if (std::max(difference, -difference) > *model->nvml_total / 16) return;
  memory.cuda_total = *memory.nvml_total - (*model->nvml_total - *model->cuda_total);
  memory.cuda_total_source = TotalSource::kCatalogue;
}

CardMemory host_as_device_memory(const HostMemory& host) {
  CardMemory memory;
  memory.cuda_total = host.total;
  memory.free = host.available;
  if (host.total) memory.cuda_total_source = TotalSource::kHost;
  if (host.total && host.available) {
    memory.used = std::max(*host.total - *host.available, Bytes(0));
    memory.used_by_others = memory.used;
  }
  return memory;
}

std::vector<GpuProcess> named(System& system, const std::vector<NvmlProcess>& processes) {
  std::vector<GpuProcess> list;
  for (const NvmlProcess& process : processes) {
    const auto name = read_line(system, fmt::format("/proc/{}/comm", process.pid));
    list.push_back({process.pid, name.value_or(""), to_bytes(process.used_bytes)});
  }
  return list;
}

std::optional<Bytes> used_by(const std::optional<std::vector<GpuProcess>>& processes, std::int64_t pid) {
  if (!processes) return std::nullopt;
  for (const GpuProcess& process : *processes) {
    if (process.pid == pid) return process.used;
  }
  return std::nullopt;
}

std::vector<MigInstance> probe_mig(Nvml& nvml, NvmlDevice card) {
  std::vector<MigInstance> instances;
  const int slots = nvml.max_mig_count(card).optional().value_or(0);
  for (int slot = 0; slot < slots; ++slot) {
    const auto handle = nvml.mig_device(card, slot);
    if (!handle.ok()) continue;  // an empty slot, or one that this container may not see
    MigInstance& instance = instances.emplace_back();
    instance.index = slot;
    instance.name = nvml.name(handle.value).optional().value_or("MIG instance");
    instance.uuid = nvml.uuid(handle.value).optional().value_or("");
    instance.gpu_instance = nvml.gpu_instance_id(handle.value).optional();
    instance.compute_instance = nvml.compute_instance_id(handle.value).optional();
    if (const auto memory = nvml.memory(handle.value); memory.ok()) instance.memory = own_memory(memory.value, {});
  }
  return instances;
}

void probe_speed(Nvml& nvml, NvmlDevice device, Gpu& gpu) {
  const auto cores = nvml.core_count(device);
  const auto clock = nvml.max_sm_clock_mhz(device);
  if (cores.ok() && clock.ok()) gpu.relative_speed = static_cast<double>(cores.value) * clock.value;
}

void probe_memory(System& system, Nvml& nvml, NvmlDevice device, const HostMemory& host, Gpu& gpu) {
  if (const auto list = nvml.processes(device); list.ok()) gpu.processes = named(system, list.value);
  gpu.unified_memory =
      gpu.capability && std::count(kUnifiedCapabilities.begin(), kUnifiedCapabilities.end(), *gpu.capability) > 0;
  const auto memory = nvml.memory(device);
  if (memory.ok()) {
    gpu.memory = own_memory(memory.value, used_by(gpu.processes, system.process_id()));
    derive_cuda_total(gpu.name, gpu.memory);
  } else if (memory.code == kNvmlNotSupported && gpu.mig != true) {
    // Only parts without memory of their own refuse this question (nvidia-smi shows "N/A").
    gpu.unified_memory = true;
    gpu.memory = host_as_device_memory(host);
  }
}

Gpu probe_card(System& system, Nvml& nvml, int index, const HostMemory& host) {
  Gpu gpu;
  gpu.vendor = GpuVendor::kNvidia;
  gpu.index = index;
  const auto device = nvml.device(index);
  if (!device.ok()) {
    gpu.name = "NVIDIA card (not answering)";
    gpu.failure = nvml_code_name(device.code);
    return gpu;
  }
  const auto name = nvml.name(device.value);
  gpu.name = name.optional().value_or("NVIDIA card");
  if (name.code == kNvmlGpuIsLost) gpu.failure = nvml_code_name(name.code);
  gpu.uuid = nvml.uuid(device.value).optional().value_or("");
  gpu.pci_id = normal_pci_id(nvml.pci_id(device.value).optional().value_or(""));
  if (const auto capability = nvml.compute_capability(device.value); capability.ok()) {
    gpu.capability = ComputeCapability{capability.value.first, capability.value.second};
  }
  gpu.ecc = nvml.ecc(device.value).optional();
  gpu.display = nvml.display_active(device.value).optional();
  gpu.mig = nvml.mig(device.value).optional();
  if (gpu.mig == true) gpu.mig_instances = probe_mig(nvml, device.value);
  probe_speed(nvml, device.value, gpu);
  probe_memory(system, nvml, device.value, host, gpu);
  gpu.integrated = gpu.unified_memory;
  return gpu;
}

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 …": the first word that is only digits and
// points.
std::optional<std::string> kernel_module_version(System& system) {
  if (auto version = read_line(system, "/sys/module/nvidia/version")) return version;
  const auto line = read_line(system, "/proc/driver/nvidia/version");
  for (const std::string& word : split(line.value_or(""), ' ')) {
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos) return word;
  }
  return std::nullopt;
}

bool nvidia_hardware_seen(const Machine& machine) {
  return std::any_of(machine.pci_cards.begin(), machine.pci_cards.end(),
                     [](const PciCard& card) { return card.vendor == kNvidiaPci; });
}

// A Jetson without NVML: the device tree says what it is, and its memory is the host's.
void probe_jetson(System& system, Machine& machine) {
  const auto compatible = system.read_file("/proc/device-tree/compatible");
  if (!compatible) return;
  for (const std::string& word : split(*compatible, '\0')) {
    const auto* tegra = std::find_if(kTegras.begin(), kTegras.end(), [&](auto& t) { return word == t.compatible; });
    if (tegra == kTegras.end()) continue;
    Gpu& gpu = machine.gpus.emplace_back();
    const auto model = system.read_file("/proc/device-tree/model");
    gpu.name = model ? model->substr(0, model->find('\0')) : "NVIDIA Jetson";
    gpu.capability = tegra->capability;
    gpu.unified_memory = true;
    gpu.integrated = true;
    gpu.memory = host_as_device_memory(machine.host);
    return;
  }
}

}  // namespace

void probe_nvidia(System& system, Machine& machine) {
  DriverInfo& driver = machine.driver;
  driver.nvidia_kernel_version = kernel_module_version(system);
  auto opened = system.open_nvml();
  if (!opened.ok()) {
    driver.nvml_message = opened.error().what;
    probe_jetson(system, machine);
    const bool hardware = nvidia_hardware_seen(machine) || driver.nvidia_kernel_version || !machine.gpus.empty();
    driver.nvidia = hardware ? NvidiaState::kNoDriver : NvidiaState::kNone;
    return;
  }
  Nvml& nvml = **opened;
  driver.nvml_path = nvml.path();
  if (const int code = nvml.start(); code != kNvmlSuccess) {
    driver.nvidia = NvidiaState::kFailed;
    driver.nvml_error = code;
    driver.nvml_message = "NVIDIA's management library refused to start: " + nvml_code_name(code);
    machine.warnings.push_back(driver.nvml_message);
    probe_jetson(system, machine);
    return;
  }
  driver.nvidia = NvidiaState::kWorking;
  driver.nvidia_version = nvml.driver_version().optional();
  driver.cuda_version = nvml.cuda_version().optional();
  const auto count = nvml.device_count();
  if (!count.ok()) {
    machine.warnings.push_back("NVIDIA's driver did not tell how many cards there are: " + nvml_code_name(count.code));
  }
  for (int index = 0; index < count.value; ++index) {
    const Gpu& gpu = machine.gpus.emplace_back(probe_card(system, nvml, index, machine.host));
    if (gpu.failure) {
      machine.warnings.push_back(fmt::format("GPU {} does not answer: {}", index, *gpu.failure));
    }
  }
}

}  // namespace vramwise
