// The text of `vramwise detect`: one block a card, then the host, as aligned "key : value" lines. MiB as nvidia-smi
// shows them, with GiB beside, so that every figure can be compared with what users see elsewhere.
#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "device/machine.h"

namespace vramwise {
namespace {

using Lines = std::vector<std::string>;

void add_line(Lines& lines, const std::string& key, const std::string& value) {
  lines.push_back(fmt::format("  {:<21}: {}", key, value));
}

std::string both_units(Bytes bytes) { return fmt::format("{} MiB ({} GiB)", format_mib(bytes), format_gib(bytes)); }

std::string size_or(std::optional<Bytes> bytes, const char* otherwise) {
  return bytes ? both_units(*bytes) : otherwise;
}

std::string source_text(TotalSource source) {
  switch (source) {
    case TotalSource::kReserve:
      return "the total less what the driver keeps for itself";
    case TotalSource::kCatalogue:
      return "the total less what the driver keeps on other cards of this model";
    case TotalSource::kHost:
      return "unified memory: the host's";
    case TotalSource::kSysfs:
    case TotalSource::kUnknown:
      break;
  }
  return {};
}

std::string processes_text(const Gpu& gpu) {
  if (!gpu.processes || gpu.processes->empty()) return {};
  Lines parts;
  for (const GpuProcess& process : *gpu.processes) {
    const std::string name = process.name.empty() ? "pid" : process.name;
    parts.push_back(fmt::format("{} {}{}", name, process.pid,
                                process.used ? fmt::format(" {} MiB", format_mib(*process.used)) : ""));
  }
  return fmt::format(" by {}", fmt::join(parts, ", "));
}

void add_memory(Lines& lines, const CardMemory& memory, GpuVendor vendor, const std::string& processes) {
  if (vendor == GpuVendor::kNvidia) {
    add_line(lines, "total (nvidia-smi)", size_or(memory.nvml_total, "N/A"));
    const std::string source = source_text(memory.cuda_total_source);
    add_line(lines, "total (CUDA)",
             size_or(memory.cuda_total, "not known without a CUDA context") + (source.empty() ? "" : ", " + source));
  } else {
    add_line(lines, "total", size_or(memory.nvml_total, "not told by the driver"));
  }
  add_line(lines, "free", size_or(memory.free, "not told by the driver"));
  if (memory.used_by_others) add_line(lines, "used by others", both_units(*memory.used_by_others) + processes);
}

std::string heading(const Gpu& gpu, std::size_t number) {
  std::string state;
  if (gpu.cuda_index) {
    state = fmt::format(" (cuda:{})", *gpu.cuda_index);
  } else if (gpu.hidden == true && gpu.mig == true && gpu.mig_instances.empty()) {
    state = " (MIG mode without instances)";
  } else if (gpu.hidden == true) {
    state = " (hidden from CUDA)";
  }
  return fmt::format("GPU {}: {}{}", number, gpu.name, state);
}

std::string yes_no(bool value) { return value ? "on" : "off"; }

void add_mig(Lines& lines, const Gpu& gpu) {
  for (const MigInstance& instance : gpu.mig_instances) {
    const std::string place = instance.cuda_index ? fmt::format("cuda:{}", *instance.cuda_index) : "hidden from CUDA";
    add_line(lines, fmt::format("MIG {}", instance.index), fmt::format("{} ({})", instance.name, place));
    add_line(lines, "  total", size_or(instance.memory.nvml_total, "N/A"));
    add_line(lines, "  free", size_or(instance.memory.free, "not told by the driver"));
    if (!instance.uuid.empty()) add_line(lines, "  UUID", instance.uuid);
  }
}

void add_gpu(Lines& lines, const Gpu& gpu, std::size_t number, const DriverInfo& driver) {
  lines.push_back(heading(gpu, number));
  if (gpu.failure) {
    add_line(lines, "failure", *gpu.failure);
    lines.emplace_back();
    return;
  }
  if (gpu.vendor == GpuVendor::kIntel && gpu.integrated) {
    add_line(lines, "memory", "the host's; graphics inside the processor are no training device");
  } else {
    add_memory(lines, gpu.memory, gpu.vendor, processes_text(gpu));
  }
  if (gpu.capability) add_line(lines, "compute capability", to_string(*gpu.capability));
  if (!gpu.architecture.empty()) add_line(lines, "architecture", gpu.architecture);
  if (gpu.vendor == GpuVendor::kNvidia && driver.nvidia_version) add_line(lines, "driver", *driver.nvidia_version);
  if (gpu.ecc) add_line(lines, "ECC", yes_no(*gpu.ecc));
  if (gpu.mig) add_line(lines, "MIG mode", yes_no(*gpu.mig));
  add_mig(lines, gpu);
  if (gpu.display == true) add_line(lines, "display", "drives a screen, which takes memory of it");
  if (!gpu.pci_id.empty()) add_line(lines, "PCI address", gpu.pci_id);
  if (!gpu.uuid.empty()) add_line(lines, "UUID", gpu.uuid);
  if (gpu.unified_memory && !(gpu.vendor == GpuVendor::kIntel)) {
    add_line(lines, "note", "shares the host's memory: what programs take there is missing here");
  }
  if (!gpu.verified) add_line(lines, "note", "detected, not verified: vramwise was not tried on this vendor's cards");
  lines.emplace_back();
}

std::string driver_text(const DriverInfo& driver) {
  if (driver.nvidia != NvidiaState::kWorking) {
    return driver.nvidia == NvidiaState::kNone ? "none" : "not working (see: vramwise doctor)";
  }
  std::string text = driver.nvidia_version.value_or("version unknown");
  if (driver.cuda_version) {
    text += fmt::format(", runs CUDA up to {}.{}", *driver.cuda_version / 1000, *driver.cuda_version % 1000 / 10);
  }
  return text;
}

void add_host(Lines& lines, const Machine& machine) {
  const HostMemory& host = machine.host;
  lines.push_back(fmt::format("Host memory{}", machine.container ? " (in a container)" : ""));
  if (host.cpu_name) add_line(lines, "processor", *host.cpu_name);
  add_line(lines, "total", size_or(host.total, "not known"));
  add_line(lines, "available", size_or(host.available, "not known"));
  if (host.limits.empty()) {
    add_line(lines, "limit", "none");
  } else {
    const auto tightest =
        std::min_element(host.limits.begin(), host.limits.end(), [](auto& a, auto& b) { return a.limit < b.limit; });
    add_line(lines, "limit", fmt::format("{}, set by {}", both_units(tightest->limit), tightest->file));
    if (tightest->usage) {
      add_line(lines, "used of the limit",
               both_units(*tightest->usage) + (tightest->reclaimable ? fmt::format(", {} MiB of it reclaimable",
                                                                                   format_mib(*tightest->reclaimable))
                                                                     : ""));
    }
  }
  add_line(lines, "budget now", size_or(host.budget(), "not known"));
  if (host.swap_total) {
    const bool none = host.swap_total->count() == 0;
    add_line(lines, "swap",
             none ? "none"
                  : both_units(*host.swap_total) +
                        (host.swap_free ? fmt::format(", {} MiB free", format_mib(*host.swap_free)) : ""));
  }
  if (host.shm_total) add_line(lines, "/dev/shm", both_units(*host.shm_total));
}

}  // namespace

std::string describe(const Machine& machine) {
  Lines lines;
  lines.push_back(fmt::format("Detected GPUs: {}", machine.gpus.size()));
  add_line(lines, "NVIDIA driver", driver_text(machine.driver));
  const auto& variable = machine.visibility.cuda_visible_devices;
  add_line(lines, "CUDA_VISIBLE_DEVICES",
           !variable           ? "unset"
           : variable->empty() ? "empty: no card is visible"
                               : *variable);
  add_line(lines, "visible to CUDA", std::to_string(machine.cuda_devices().size()));
  lines.emplace_back();
  for (std::size_t i = 0; i < machine.gpus.size(); ++i) add_gpu(lines, machine.gpus[i], i, machine.driver);
  add_host(lines, machine);
  Lines notes = machine.visibility.notes;
  notes.insert(notes.end(), machine.warnings.begin(), machine.warnings.end());
  if (machine.wsl) {
    notes.emplace_back(
        "Windows Subsystem for Linux: the memory of single processes is not visible here, and Windows may "
        "move GPU memory to the host without an error");
  }
  if (!notes.empty()) {
    lines.emplace_back();
    lines.emplace_back("Notes");
    for (const std::string& note : notes) lines.push_back("  - " + note);
  }
  return fmt::format("{}\n", fmt::join(lines, "\n"));
}

}  // namespace vramwise
