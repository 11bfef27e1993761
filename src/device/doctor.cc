// One function a subject, each adding what it finds. The order of the list is theirs; diagnose() sorts by severity.
#include "device/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr std::uint32_t kNvidiaPci = 0x10de;
constexpr const char* kInstallDriver =
    "install NVIDIA's driver from your distribution or https://www.nvidia.com/drivers";

struct Examination {
  const Machine& machine;
  System& system;
  const DoctorContext& context;
  std::vector<Finding> findings;

  void ok(std::string what) { findings.push_back({Severity::kOk, std::move(what), {}}); }
  void hint(std::string what, std::string remedy) { add(Severity::kHint, std::move(what), std::move(remedy)); }
  void warning(std::string what, std::string remedy) { add(Severity::kWarning, std::move(what), std::move(remedy)); }
  void error(std::string what, std::string remedy) { add(Severity::kError, std::move(what), std::move(remedy)); }

 private:
  void add(Severity severity, std::string what, std::string remedy) {
    findings.push_back({severity, std::move(what), std::move(remedy)});
  }
};

std::string cuda_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// "13.0" of "cu130"
std::string cuda_of(const TorchBuild& build) {
  const std::string digits = build.tag.substr(2);
  return digits.substr(0, digits.size() - 1) + "." + digits.back();
}

std::string wheel_command(const TorchBuild& build) {
  return fmt::format("install torch=={}+{} (PyTorch's own page for installing has the command for {})", build.version,
                     build.tag, build.tag);
}

std::optional<DriverVersion> driver_version(const Machine& machine) {
  if (!machine.driver.nvidia_version) return std::nullopt;
  return parse_driver_version(*machine.driver.nvidia_version);
}

void examine_missing_driver(Examination& exam) {
  const Machine& machine = exam.machine;
  const auto& asked = machine.visibility.nvidia_visible_devices;
  if (machine.container && asked && (*asked == "void" || *asked == "none" || asked->empty())) {
    exam.error(fmt::format("this container was started with NVIDIA_VISIBLE_DEVICES={}, which gives it no GPU", *asked),
               "start it with GPU access: docker run --gpus all, or NVIDIA_VISIBLE_DEVICES=all");
    return;
  }
  if (machine.driver.nvidia_kernel_version) {
    exam.error(fmt::format("NVIDIA's kernel module {} is loaded, but its library libnvidia-ml.so.1 is not found",
                           *machine.driver.nvidia_kernel_version),
               machine.container
                   ? "start the container with GPU access: docker run --gpus all (NVIDIA Container Toolkit)"
                   : "install the user-space part of the same driver version");
    return;
  }
  for (const PciCard& card : machine.pci_cards) {
    if (card.vendor != kNvidiaPci) continue;
    const std::string name = fmt::format("the NVIDIA card at {}", card.pci_id);
    if (card.driver == "nouveau" || card.driver == "nova_core") {
      exam.error(fmt::format("{} is served by the free driver {}, which has no CUDA", name, card.driver),
                 kInstallDriver);
    } else if (card.driver == "vfio-pci") {
      exam.hint(name + " is set aside for a virtual machine (vfio-pci)",
                "to use it here, unbind it from vfio-pci and load NVIDIA's driver");
    } else {
      exam.error(name + " has no working driver", kInstallDriver);
    }
  }
}

void examine_failed_driver(Examination& exam) {
  const DriverInfo& driver = exam.machine.driver;
  switch (driver.nvml_error.value_or(0)) {
    case kNvmlLibRmVersionMismatch:
      exam.error(fmt::format("NVIDIA's library and kernel module are of different versions{}: {}",
                             driver.nvidia_kernel_version ? " (module " + *driver.nvidia_kernel_version + ")" : "",
                             driver.nvml_message),
                 exam.machine.container
                     ? "the driver of the host was changed after the container started, or the image brings one of its "
                       "own: restart the container, and remove libnvidia-* packages from the image"
                     : "the driver was updated while it was loaded: restart the machine");
      return;
    case kNvmlDriverNotLoaded:
      exam.error("NVIDIA's library is installed, but the kernel module is not loaded",
                 "run `sudo modprobe nvidia` and read `dmesg`: after a kernel update the module may have to be rebuilt "
                 "(DKMS), and Secure Boot may refuse an unsigned one");
      return;
    case kNvmlNoPermission:
      exam.error("NVIDIA's driver refuses this user",
                 "check the rights of /dev/nvidia* and the container's device rules");
      return;
    default:
      exam.error(driver.nvml_message,
                 "restart the machine; if it stays, `nvidia-smi` and `dmesg | grep -i nvrm` say more");
  }
}

// Another build of PyTorch that runs on the first card with the driver as it is.
const TorchBuild* build_for_this_driver(const Machine& machine) {
  for (const Gpu& gpu : machine.gpus) {
    if (gpu.capability) return torch_build_for(*gpu.capability, driver_version(machine));
  }
  return nullptr;
}

void examine_driver_version(Examination& exam) {
  const DriverInfo& driver = exam.machine.driver;
  const TorchBuild& build = exam.context.build;
  const auto version = driver_version(exam.machine);
  // The driver's own word counts first: a compatibility package can make an older driver run newer CUDA.
  const auto cuda_major = parse_integer(split(cuda_of(build), '.').front());
  const bool too_old = driver.cuda_version ? *driver.cuda_version / 1000 < cuda_major.value_or(0)
                                           : version && *version < build.lowest_driver;
  const std::string shown = driver.nvidia_version.value_or("of unknown version");
  if (!too_old) {
    exam.ok(fmt::format("NVIDIA driver {} works{}", shown,
                        driver.cuda_version ? " and runs CUDA up to " + cuda_text(*driver.cuda_version) : ""));
    return;
  }
  const std::string needed = to_string(build.lowest_driver);
  const TorchBuild* other = version ? build_for_this_driver(exam.machine) : nullptr;
  exam.error(fmt::format("NVIDIA driver {} is too old for PyTorch {}, whose CUDA {} needs driver {} or newer", shown,
                         build.version, cuda_of(build), needed),
             fmt::format("update the driver to {} or newer{}", needed,
                         other != nullptr && other->tag != build.tag
                             ? fmt::format(", or use the wheel for older drivers: {}", wheel_command(*other))
                             : ""));
}

void examine_driver(Examination& exam) {
  switch (exam.machine.driver.nvidia) {
    case NvidiaState::kNone:
      return;
    case NvidiaState::kNoDriver:
      return examine_missing_driver(exam);
    case NvidiaState::kFailed:
      return examine_failed_driver(exam);
    case NvidiaState::kWorking:
      examine_driver_version(exam);
  }
  // CUDA needs this device node; NVML does not, so nvidia-smi works without it.
  if (!exam.machine.wsl && exam.system.exists("/dev/nvidiactl") && !exam.system.exists("/dev/nvidia-uvm")) {
    exam.error("/dev/nvidia-uvm is missing, so CUDA can't start though nvidia-smi works",
               "run `sudo nvidia-modprobe -u` (in a container: on the host, then restart the container)");
  }
}

void examine_capability(Examination& exam, const Gpu& gpu) {
  const TorchBuild& build = exam.context.build;
  if (!gpu.capability || build.runs_on(*gpu.capability)) return;
  const std::string what = fmt::format("{} has compute capability {}, for which PyTorch {} for CUDA {} carries no code",
                                       gpu.name, to_string(*gpu.capability), build.version, cuda_of(build));
  if (const TorchBuild* other = torch_build_for(*gpu.capability, driver_version(exam.machine))) {
    exam.error(what, "use the wheel that carries it: " + wheel_command(*other));
  } else if (*gpu.capability < build.kernels.front()) {
    exam.error(what, "no current PyTorch runs on it with this driver; plans for it can still be made");
  } else {
    exam.error(what, "a newer PyTorch, or the maker's own build, may run on it");
  }
}

void examine_nvidia_card(Examination& exam, const Gpu& gpu) {
  if (gpu.failure) {
    exam.error(fmt::format("GPU {} ({}) does not answer: {}", gpu.index, gpu.name, *gpu.failure),
               "read `dmesg | grep -i xid`; a lost card comes back with a restart, if its power and slot are sound");
    return;
  }
  examine_capability(exam, gpu);
  if (gpu.mig == true && gpu.mig_instances.empty()) {
    exam.error(
        fmt::format("GPU {} ({}) is in MIG mode and has no instances that this process may see, so CUDA can't use it",
                    gpu.index, gpu.name),
        "create instances (`sudo nvidia-smi mig -cgi 0 -C`) or leave MIG mode (`sudo nvidia-smi -mig 0`)");
  }
  const auto& others = gpu.memory.used_by_others;
  if (others && !gpu.unified_memory && *others >= Bytes::mib(512)) {
    exam.warning(fmt::format("{} of GPU {} ({}) are taken by others", format_size(*others), gpu.index, gpu.name),
                 "`vramwise detect` lists the processes; end what you do not need, or plan for what is free");
  }
  if (gpu.unified_memory) {
    exam.hint(fmt::format("{} shares the host's memory: its budget is what the host has available", gpu.name),
              "close other programs; `sync; echo 3 | sudo tee /proc/sys/vm/drop_caches` gives cached files back");
  }
}

void examine_cards(Examination& exam) {
  const Machine& machine = exam.machine;
  for (const Gpu& gpu : machine.gpus) {
    if (gpu.vendor == GpuVendor::kNvidia) {
      examine_nvidia_card(exam, gpu);
    } else if (!gpu.integrated || gpu.vendor == GpuVendor::kAmd) {
      exam.warning(fmt::format("{} is detected, but vramwise does not train on {} cards yet", gpu.name,
                               gpu.vendor == GpuVendor::kAmd ? "AMD" : "Intel"),
                   "plans and estimates for it are made, unverified; training uses the CPU");
    }
  }
  const auto devices = machine.cuda_devices();
  if (!devices.empty()) {
    exam.ok(fmt::format("{} CUDA {} visible to this process", devices.size(),
                        devices.size() == 1 ? "device is" : "devices are"));
  } else if (machine.gpus.empty() && machine.driver.nvidia == NvidiaState::kNone) {
    exam.hint("no GPU was found on this machine",
              "plans need none (name a card: --gpu rtx-4090); training uses the CPU with host memory as its budget");
  }
}

void examine_visibility(Examination& exam) {
  const Visibility& visibility = exam.machine.visibility;
  for (const std::string& note : visibility.notes) {
    exam.warning(note, visibility.cuda_visible_devices ? "to show all cards: unset CUDA_VISIBLE_DEVICES"
                                                       : "name the card you want in CUDA_VISIBLE_DEVICES");
  }
}

void examine_host(Examination& exam) {
  const HostMemory& host = exam.machine.host;
  const auto limit = host.limit();
  if (limit && host.total && *limit < *host.total) {
    exam.hint(fmt::format("this process may use {} of the host's {} (a control group's limit)", format_size(*limit),
                          format_size(*host.total)),
              "vramwise plans with the limit; raise it where the container is started (docker run --memory)");
  }
  if (const auto budget = host.budget(); budget && *budget < Bytes::gib(2)) {
    exam.warning(fmt::format("only {} of host memory are left", format_size(*budget)),
                 "loading data and saving checkpoints take host memory too: close other programs or raise the limit");
  }
  if (host.swap_total && host.swap_free && host.swap_total->count() > 0) {
    const Bytes swapped = *host.swap_total - *host.swap_free;
    if (swapped * 2 > *host.swap_total) {
      exam.warning(fmt::format("more than half of the swap space is in use ({})", format_size(swapped)),
                   "the host is short of memory, and training would be slow: close other programs");
    }
  }
  // Docker gives 64 MiB unless told otherwise.
  if (host.shm_total && *host.shm_total < Bytes::gib(1)) {
    exam.warning(fmt::format("/dev/shm has only {}: NCCL and worker processes exchange data there",
                             format_size(*host.shm_total)),
                 "start the container with --ipc=host or --shm-size=8g");
  }
}

void examine_disk(Examination& exam) {
  const std::string folder = exam.system.current_folder();
  const auto space = exam.system.disk_space(folder);
  if (!space || space->available >= exam.context.low_disk) return;
  exam.warning(
      fmt::format("{} are free in {}", format_size(space->available), folder),
      "a checkpoint holds weights and optimizer states (12 bytes a parameter and more); choose --out_dir elsewhere "
      "or make room");
}

void examine_torch(Examination& exam) {
  if (!exam.context.torch_folder) return;
  const std::string& folder = *exam.context.torch_folder;
  const auto version = torch_version(exam.system, folder);
  if (!version) {
    exam.error(fmt::format("the PyTorch that vramwise-train was built with is gone from {}", folder),
               "set it up again: make build");
  } else if (version->ends_with("+cpu") && !exam.machine.cuda_devices().empty()) {
    exam.error(fmt::format("vramwise-train was built with PyTorch {}, which has no CUDA", *version),
               fmt::format("in that environment {}, then make build", wheel_command(exam.context.build)));
  } else {
    exam.ok(fmt::format("vramwise-train runs with PyTorch {}", *version));
  }
}

// True for "2.17" against 2.28.
bool older_than(const std::string& version, std::int64_t major, std::int64_t minor) {
  const auto parts = split(version, '.');
  if (parts.size() < 2) return false;
  const auto its_major = parse_integer(parts[0]);
  const auto its_minor = parse_integer(parts[1]);
  return its_major && its_minor && std::pair(*its_major, *its_minor) < std::pair(major, minor);
}

void examine_software(Examination& exam) {
  if (exam.context.glibc_version && older_than(*exam.context.glibc_version, 2, 28)) {
    exam.error(
        fmt::format("the C library is {}, and PyTorch's wheels need glibc 2.28 or newer", *exam.context.glibc_version),
        "use a newer distribution, or a container of one");
  }
  for (const std::string& folder : split(exam.system.environment("LD_LIBRARY_PATH").value_or(""), ':')) {
    for (const std::string& name : exam.system.list_folder(folder.empty() ? "." : folder)) {
      const bool shadows = name.starts_with("libcudart.so") || name.starts_with("libcublas.so") ||
                           name.starts_with("libcudnn.so") || name.starts_with("libstdc++.so");
      if (!shadows) continue;
      exam.warning(fmt::format("LD_LIBRARY_PATH puts {}/{} before the library that PyTorch brings", folder, name),
                   "unset LD_LIBRARY_PATH for training unless you know that the versions agree");
      break;
    }
  }
  if (exam.machine.wsl) {
    exam.hint(
        "Windows may move GPU memory to host memory instead of failing (sysmem fallback), which makes training slow",
        "in the NVIDIA control panel set \"CUDA - Sysmem Fallback Policy\" to \"Prefer No Sysmem Fallback\"");
  }
}

}  // namespace

const char* severity_key(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kHint:
      return "hint";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "";
}

std::optional<std::string> torch_version(System& system, const std::string& torch_folder) {
  // The line is "__version__ = '2.14.1+cu130'".
  constexpr std::string_view kName = "__version__ = '";
  for (const std::string& line : split(system.read_file(torch_folder + "/version.py").value_or(""), '\n')) {
    if (!line.starts_with(kName)) continue;
    const std::string value = line.substr(kName.size());
    return value.substr(0, value.find('\''));
  }
  return std::nullopt;
}

std::vector<Finding> diagnose(const Machine& machine, System& system, const DoctorContext& context) {
  Examination exam{machine, system, context, {}};
  examine_driver(exam);
  examine_cards(exam);
  examine_visibility(exam);
  examine_host(exam);
  examine_disk(exam);
  examine_torch(exam);
  examine_software(exam);
  std::stable_sort(exam.findings.begin(), exam.findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return std::move(exam.findings);
}

std::string describe(const std::vector<Finding>& findings) {
  std::string text;
  int problems = 0;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {}\n", severity_key(finding.severity), finding.what);
    if (!finding.remedy.empty()) text += fmt::format("         -> {}\n", finding.remedy);
    if (finding.severity >= Severity::kWarning) ++problems;
  }
  return text + (problems == 0 ? "No problems found.\n"
                               : fmt::format("{} {} found.\n", problems, problems == 1 ? "problem" : "problems"));
}

Json to_json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"severity", severity_key(finding.severity)},
                    {"what", finding.what},
                    {"remedy", finding.remedy.empty() ? Json(nullptr) : Json(finding.remedy)}});
  }
  return Json{{"schema", "vramwise.doctor"}, {"schema_version", 1}, {"findings", std::move(list)}};
}

}  // namespace vramwise
