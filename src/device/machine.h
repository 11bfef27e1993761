// Machine: what this computer offers to a training run: its graphics cards and host memory, as the drivers tell it.
//
// Probing creates no CUDA context (a context would itself take some hundred MiB of the card). A value that a driver
// does not report is absent, never 0: a card whose memory reads "N/A" is not a card without memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json_fwd.h"
#include "base/result.h"
#include "gpus/catalogue.h"

namespace vramwise {

class System;

/// "nvidia", "amd", "intel", "unknown": as in the JSON.
const char* vendor_key(GpuVendor vendor);

/// Where CardMemory::cuda_total comes from. The real figure is known only inside a CUDA context, which we don't make.
enum class TotalSource {
  kUnknown,    ///< cuda_total is absent
  kReserve,    ///< NVML's total less the memory that NVML says the driver keeps for itself, on this very card
  kCatalogue,  ///< NVML's total less what the driver keeps on other cards of this model
  kHost,       ///< unified memory: what the host has
  kSysfs,      ///< AMD, Intel: the kernel driver's figure
};

/// The memory of a card or of a MIG instance.
struct CardMemory {
  std::optional<Bytes> nvml_total;  ///< what nvidia-smi shows as total; on AMD and Intel the kernel driver's total
  std::optional<Bytes> cuda_total;  ///< what CUDA programs get at most (torch's total_memory); see cuda_total_source
  TotalSource cuda_total_source = TotalSource::kUnknown;
  std::optional<Bytes> reserved;        ///< kept by the driver and firmware, part of nvml_total
  std::optional<Bytes> used;            ///< taken by processes (total - free - reserved), ours included
  std::optional<Bytes> free;            ///< not taken by anyone now
  std::optional<Bytes> used_by_others;  ///< `used` less what this process itself holds

  /// What a run that starts now may take: cuda_total (else nvml_total) less used_by_others, never below 0. Absent when
  /// no total is known.
  std::optional<Bytes> available() const;
};

/// A process that holds memory on a card, as far as the driver shows it (containers and WSL show few or none).
struct GpuProcess {
  std::int64_t pid = 0;  ///< as the driver counts: in a container possibly the host's number
  std::string name;      ///< may be empty
  std::optional<Bytes> used;
};

/// A part of a card with memory of its own, made with MIG.
struct MigInstance {
  int index = 0;  ///< as in `nvidia-smi -L`, within its card
  std::string name;
  std::string uuid;
  std::optional<int> gpu_instance;
  std::optional<int> compute_instance;
  CardMemory memory;
  std::optional<int> cuda_index;
};

struct Gpu {
  GpuVendor vendor = GpuVendor::kNvidia;
  int index = 0;  ///< within the vendor's cards; NVIDIA: NVML's order, as nvidia-smi shows it (by PCI address)
  std::string name;
  std::string uuid;    ///< "GPU-…"; may be empty
  std::string pci_id;  ///< "0000:01:00.0"; may be empty
  CardMemory memory;
  bool unified_memory = false;                       ///< shares host memory: Jetson, GB10, APUs
  bool integrated = false;                           ///< part of the processor, no card of its own
  std::optional<ComputeCapability> capability;       ///< NVIDIA
  std::string architecture;                          ///< AMD: "gfx1100"; may be empty
  std::optional<bool> ecc;                           ///< error correction on
  std::optional<bool> mig;                           ///< MIG mode on
  std::vector<MigInstance> mig_instances;            ///< in the driver's order
  std::optional<bool> display;                       ///< a screen is driven by it
  std::optional<int> cuda_index;                     ///< N of "cuda:N" for this process; absent: hidden from it
  std::optional<bool> hidden;                        ///< NVIDIA: true when CUDA_VISIBLE_DEVICES hides all of it
  std::optional<double> relative_speed;              ///< CUDA cores x maximal clock (MHz): only for ordering cards
  std::optional<std::vector<GpuProcess>> processes;  ///< absent: the driver does not tell
  std::optional<std::string> failure;                ///< the driver stopped answering for this card; what it said
  bool verified = true;                              ///< false: vramwise has not been tried on this vendor's cards
};

/// A device of CUDA's numbering in this process: a card, or one MIG instance of a card.
struct CudaDevice {
  int cuda_index = 0;
  std::size_t gpu = 0;             ///< into Machine::gpus
  std::optional<std::size_t> mig;  ///< into that card's mig_instances
  std::string name;                ///< the card's, or the instance's
  std::optional<ComputeCapability> capability;
  CardMemory memory;
  bool unified_memory = false;
};

/// A limit that a control group sets on this process.
struct CgroupLimit {
  std::string path;  ///< folder below /sys/fs/cgroup
  std::string file;  ///< "memory.max", "memory.high", "memory.limit_in_bytes", …
  Bytes limit;
  std::optional<Bytes> usage;        ///< of that group, page cache included
  std::optional<Bytes> reclaimable;  ///< part of usage that the kernel gives back when asked: inactive file pages
};

struct HostMemory {
  std::optional<std::string> cpu_name;  ///< "AMD EPYC 7763", as /proc/cpuinfo has it; x86 only
  std::optional<Bytes> total;           ///< MemTotal
  std::optional<Bytes> available;       ///< MemAvailable
  std::optional<Bytes> swap_total;
  std::optional<Bytes> swap_free;
  std::vector<CgroupLimit> limits;  ///< those that are set, the innermost group first
  std::optional<Bytes> shm_total;   ///< /dev/shm: what DataLoader workers share tensors through
  std::optional<Bytes> shm_free;

  /// The tightest limit of all, or nothing.
  std::optional<Bytes> limit() const;
  /// What a new process may take now: the least of `available` and each limit's room (limit - usage + reclaimable),
  /// never below 0.
  std::optional<Bytes> budget() const;
};

enum class NvidiaState {
  kNone,      ///< no NVIDIA hardware seen and no driver library
  kNoDriver,  ///< a card is on the bus, but no driver library answers
  kFailed,    ///< the library is there, and refused to start
  kWorking,
};

struct DriverInfo {
  NvidiaState nvidia = NvidiaState::kNone;
  std::optional<std::string> nvidia_version;         ///< "580.65.06"
  std::optional<std::string> nvidia_kernel_version;  ///< of the loaded kernel module, which may differ
  std::optional<int> cuda_version;                   ///< highest CUDA that the driver runs: 13000 means 13.0
  std::string nvml_path;                             ///< the library that answered
  std::optional<int> nvml_error;                     ///< the code with which it refused (nvmlReturn_t)
  std::string nvml_message;                          ///< why it is not there, or what it said
};

/// What decides which cards CUDA shows to this process.
struct Visibility {
  std::optional<std::string> cuda_visible_devices;    ///< the variable, absent when unset
  std::optional<std::string> nvidia_visible_devices;  ///< what the container runtime was asked for
  bool pci_bus_order = false;  ///< CUDA_DEVICE_ORDER=PCI_BUS_ID; otherwise CUDA puts the fastest first
  /// False when cards of different models are ordered by our guess of their speed, as CUDA does by its own.
  bool order_certain = true;
  std::vector<std::string> notes;  ///< what in the variable was not understood or hides cards, one sentence each
};

/// A display or compute card on the PCI bus, whether or not a driver serves it.
struct PciCard {
  std::string pci_id;
  std::uint32_t vendor = 0;
  std::uint32_t device = 0;
  std::uint32_t class_code = 0;  ///< 0x030000: VGA, 0x030200: 3D, 0x120000: processing accelerator
  std::string driver;            ///< "nvidia", "nouveau", "vfio-pci"; empty: none
};

struct Machine {
  std::vector<Gpu> gpus;  ///< NVIDIA first, then AMD, then Intel
  HostMemory host;
  DriverInfo driver;
  Visibility visibility;
  std::vector<PciCard> pci_cards;
  bool wsl = false;
  bool container = false;
  std::vector<std::string> warnings;  ///< what went wrong while probing, one sentence each

  /// The devices that CUDA shows to this process, in its order. Empty when there are none.
  std::vector<CudaDevice> cuda_devices() const;
};

/// Asks drivers and kernel. A driver that fails makes warnings, not an error; an error means that nothing at all can be
/// said (no /proc/meminfo and no card).
Result<Machine> probe(System& system);

/// The text of `vramwise detect`; ends in a newline.
std::string describe(const Machine& machine);

/// The JSON of `vramwise detect --json`. Bytes are whole numbers under keys that end in _bytes; what is not known is
/// null.
Json to_json(const Machine& machine);

}  // namespace vramwise
