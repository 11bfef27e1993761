// NVML: the same cards, as monitoring tools see them. NVML knows nothing of CUDA_VISIBLE_DEVICES and shows all of them.
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "emulator/process.h"
#include "emulator/state/visible_devices.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

// nvmlReturn_t
constexpr int kNvmlSuccess = 0;
constexpr int kNvmlInvalidArgument = 2;
constexpr int kNvmlNotSupported = 3;
constexpr int kNvmlNotFound = 6;
constexpr int kNvmlInsufficientSize = 7;
constexpr int kNvmlDriverNotLoaded = 9;

/// A handle is the card's index in the machine, plus one.
using NvmlDevice = std::uintptr_t;

struct MemoryInfo {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

struct MemoryInfo2 {
  unsigned version;
  unsigned long long total;
  unsigned long long reserved;
  unsigned long long free;
  unsigned long long used;
};

struct PciInfo {
  char bus_id_legacy[16];
  unsigned domain;
  unsigned bus;
  unsigned device;
  unsigned pci_device_id;
  unsigned pci_subsystem_id;
  char bus_id[32];
};

template <typename Body>
int nvml(Body&& body) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  return machine == nullptr ? kNvmlDriverNotLoaded : static_cast<int>(body(*machine));
}

template <typename Body>
int on_card(NvmlDevice handle, Body&& body) {
  return nvml([&](Machine& machine) -> int {
    const auto& cards = machine.spec().cards;
    if (handle == 0 || handle > cards.size()) return kNvmlInvalidArgument;
    return body(machine, cards[handle - 1], static_cast<int>(handle - 1));
  });
}

int put_text(char* out, unsigned room, const std::string& text) {
  if (text.size() + 1 > room) return kNvmlInsufficientSize;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return kNvmlSuccess;
}

std::string bus_id(int index) {
  char text[32];
  std::snprintf(text, sizeof text, "00000000:%02X:00.0", index + 1);
  return text;
}

/// The card's ledger, if this process sees the card.
DeviceLedger* ledger_of(Machine& machine, int index) {
  for (int device = 0; device < machine.device_count(); ++device) {
    if (machine.physical_index(device) == index) return &machine.memory().ledger(device);
  }
  return nullptr;
}

/// What other processes hold of a card, those of this run and those beyond it.
Bytes other_of(Machine& machine, const CardSpec& card, int index) {
  const DeviceLedger* ledger = ledger_of(machine, index);
  return (ledger == nullptr ? card.other : ledger->other()) + machine.neighbours(index);
}

/// What this process and others hold of a card.
Bytes used_of(Machine& machine, const CardSpec& card, int index) {
  const DeviceLedger* ledger = ledger_of(machine, index);
  return other_of(machine, card, index) + (ledger == nullptr ? Bytes(0) : ledger->live());
}

MemoryInfo2 memory_of(Machine& machine, const CardSpec& card, int index) {
  const Bytes reserved = card.nvml_total - card.total;
  const Bytes used = used_of(machine, card, index);
  const auto number = [](Bytes bytes) { return static_cast<unsigned long long>(bytes.count()); };
  return {0, number(card.nvml_total), number(reserved), number(card.total - used), number(used)};
}

}  // namespace

VRAMWISE_ENTRY int nvmlInit_v2() {
  return nvml([](Machine& machine) { return machine.spec().cards.empty() ? kNvmlDriverNotLoaded : kNvmlSuccess; });
}
VRAMWISE_ENTRY int nvmlInit() { return nvmlInit_v2(); }
VRAMWISE_ENTRY int nvmlInitWithFlags(unsigned) { return nvmlInit_v2(); }
VRAMWISE_ENTRY int nvmlShutdown() { return kNvmlSuccess; }

VRAMWISE_ENTRY const char* nvmlErrorString(int code) {
  switch (code) {
    case kNvmlSuccess:
      return "Success";
    case kNvmlInvalidArgument:
      return "Invalid Argument";
    case kNvmlNotSupported:
      return "Not Supported";
    case kNvmlNotFound:
      return "Not Found";
    case kNvmlInsufficientSize:
      return "Insufficient Size";
    case kNvmlDriverNotLoaded:
      return "Driver Not Loaded";
    default:
      return "Unknown Error";
  }
}

VRAMWISE_ENTRY int nvmlSystemGetDriverVersion(char* text, unsigned room) {
  return nvml([&](Machine& machine) { return put_text(text, room, machine.spec().driver_version); });
}
VRAMWISE_ENTRY int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  return nvml([&](Machine& machine) {
    *version = machine.spec().cuda_driver_version;
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlSystemGetCudaDriverVersion(int* version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
VRAMWISE_ENTRY int nvmlSystemGetNVMLVersion(char* text, unsigned room) {
  return nvml([&](Machine& machine) { return put_text(text, room, "13." + machine.spec().driver_version); });
}

VRAMWISE_ENTRY int nvmlDeviceGetCount_v2(unsigned* count) {
  return nvml([&](Machine& machine) {
    *count = static_cast<unsigned>(machine.spec().cards.size());
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetCount(unsigned* count) { return nvmlDeviceGetCount_v2(count); }

VRAMWISE_ENTRY int nvmlDeviceGetHandleByIndex_v2(unsigned index, NvmlDevice* device) {
  *device = NvmlDevice{index} + 1;
  return on_card(*device, [](Machine&, const CardSpec&, int) { return kNvmlSuccess; });
}
VRAMWISE_ENTRY int nvmlDeviceGetHandleByIndex(unsigned index, NvmlDevice* device) {
  return nvmlDeviceGetHandleByIndex_v2(index, device);
}
VRAMWISE_ENTRY int nvmlDeviceGetHandleByUUID(const char* uuid, NvmlDevice* device) {
  return nvml([&](Machine& machine) {
    const auto& cards = machine.spec().cards;
    for (std::size_t i = 0; i < cards.size(); ++i) {
      if (uuid_text(cards[i].uuid) != uuid) continue;
      *device = i + 1;
      return kNvmlSuccess;
    }
    return kNvmlNotFound;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetHandleByPciBusId_v2(const char* text, NvmlDevice* device) {
  return nvml([&](Machine& machine) {
    const char* domain_end = std::strchr(text, ':');  // DOMAIN:BUS:DEVICE.FUNCTION
    unsigned bus = 0;
    if (domain_end != nullptr) std::from_chars(domain_end + 1, text + std::strlen(text), bus, 16);
    if (bus < 1 || bus > machine.spec().cards.size()) return kNvmlNotFound;
    *device = bus;
    return kNvmlSuccess;
  });
}

VRAMWISE_ENTRY int nvmlDeviceGetName(NvmlDevice device, char* text, unsigned room) {
  return on_card(device, [&](Machine&, const CardSpec& card, int) { return put_text(text, room, card.name); });
}
VRAMWISE_ENTRY int nvmlDeviceGetUUID(NvmlDevice device, char* text, unsigned room) {
  return on_card(device,
                 [&](Machine&, const CardSpec& card, int) { return put_text(text, room, uuid_text(card.uuid)); });
}
VRAMWISE_ENTRY int nvmlDeviceGetIndex(NvmlDevice device, unsigned* index) {
  return on_card(device, [&](Machine&, const CardSpec&, int i) {
    *index = static_cast<unsigned>(i);
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetMinorNumber(NvmlDevice device, unsigned* index) {
  return nvmlDeviceGetIndex(device, index);
}

VRAMWISE_ENTRY int nvmlDeviceGetMemoryInfo(NvmlDevice device, MemoryInfo* info) {
  return on_card(device, [&](Machine& machine, const CardSpec& card, int index) {
    const MemoryInfo2 memory = memory_of(machine, card, index);
    *info = {memory.total, memory.free, memory.total - memory.free};
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetMemoryInfo_v2(NvmlDevice device, MemoryInfo2* info) {
  return on_card(device, [&](Machine& machine, const CardSpec& card, int index) {
    const unsigned version = info->version;
    *info = memory_of(machine, card, index);
    info->version = version;
    return kNvmlSuccess;
  });
}

VRAMWISE_ENTRY int nvmlDeviceGetCudaComputeCapability(NvmlDevice device, int* major, int* minor) {
  return on_card(device, [&](Machine&, const CardSpec& card, int) {
    *major = card.capability_major;
    *minor = card.capability_minor;
    return kNvmlSuccess;
  });
}

VRAMWISE_ENTRY int nvmlDeviceGetPciInfo_v3(NvmlDevice device, PciInfo* info) {
  return on_card(device, [&](Machine&, const CardSpec&, int index) {
    *info = PciInfo{};
    info->bus = static_cast<unsigned>(index + 1);
    std::snprintf(info->bus_id, sizeof info->bus_id, "%s", bus_id(index).c_str());
    std::snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "0000:%02X:00.0", index + 1);
    return kNvmlSuccess;
  });
}

VRAMWISE_ENTRY int nvmlDeviceGetUtilizationRates(NvmlDevice device, unsigned* rates) {
  return on_card(device, [&](Machine&, const CardSpec&, int) {
    rates[0] = rates[1] = 0;
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetMemoryBusWidth(NvmlDevice device, unsigned* bits) {
  return on_card(device, [&](Machine&, const CardSpec& card, int) {
    *bits = static_cast<unsigned>(card.memory_bus_bits);
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetMaxClockInfo(NvmlDevice device, int clock, unsigned* mhz) {
  return on_card(device, [&](Machine&, const CardSpec& card, int) {
    *mhz = static_cast<unsigned>((clock == 2 ? card.memory_clock_khz : card.clock_khz) / 1000);  // NVML_CLOCK_MEM
    return kNvmlSuccess;
  });
}
VRAMWISE_ENTRY int nvmlDeviceGetNumGpuCores(NvmlDevice, unsigned*) { return kNvmlNotSupported; }

namespace {

struct ProcessInfo1 {
  unsigned pid;
  unsigned long long used;
};

struct ProcessInfo2 {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance;
  unsigned compute_instance;
};

/// This process, if it has a context on the card; other processes' memory belongs to nobody that could be named.
template <typename Info>
int running_processes(NvmlDevice handle, unsigned* count, Info* infos) {
  return on_card(handle, [&](Machine& machine, const CardSpec& card, int index) {
    const Bytes used = used_of(machine, card, index) - other_of(machine, card, index);
    const unsigned room = *count;
    *count = used > Bytes(0) ? 1 : 0;
    if (*count > room) return kNvmlInsufficientSize;
    if (*count == 0 || infos == nullptr) return kNvmlSuccess;
    infos[0] = Info{};
    infos[0].pid = static_cast<unsigned>(getpid());
    infos[0].used = static_cast<unsigned long long>(used.count());
    return kNvmlSuccess;
  });
}

}  // namespace

VRAMWISE_ENTRY int nvmlDeviceGetComputeRunningProcesses(NvmlDevice device, unsigned* count, ProcessInfo1* infos) {
  return running_processes(device, count, infos);
}
VRAMWISE_ENTRY int nvmlDeviceGetComputeRunningProcesses_v2(NvmlDevice device, unsigned* count, ProcessInfo2* infos) {
  return running_processes(device, count, infos);
}
VRAMWISE_ENTRY int nvmlDeviceGetComputeRunningProcesses_v3(NvmlDevice device, unsigned* count, ProcessInfo2* infos) {
  return running_processes(device, count, infos);
}
VRAMWISE_ENTRY int nvmlDeviceGetGraphicsRunningProcesses_v3(NvmlDevice device, unsigned* count, ProcessInfo2*) {
  return on_card(device, [&](Machine&, const CardSpec&, int) {
    *count = 0;
    return kNvmlSuccess;
  });
}

VRAMWISE_ENTRY int nvmlDeviceGetP2PStatus(NvmlDevice, NvmlDevice, int, int* status) {
  *status = 1;  // NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED
  return kNvmlSuccess;
}

namespace {

/// The common beginning of nvmlGpuFabricInfo_v2_t and later forms.
struct FabricInfo {
  unsigned version;
  unsigned char cluster_uuid[16];
  int status;
  unsigned clique;
  unsigned char state;  ///< 0: not supported
};

}  // namespace

VRAMWISE_ENTRY int nvmlDeviceGetGpuFabricInfoV(NvmlDevice device, FabricInfo* info) {
  return on_card(device, [&](Machine&, const CardSpec& card, int) {
    if (card.capability_major < 9) return kNvmlNotSupported;
    *info = FabricInfo{info->version, {}, 0, 0, 0};
    return kNvmlSuccess;
  });
}

// What a GeForce card answers too: no MIG, no ECC counters, no fabric, no NVLink.
#define VRAMWISE_ABSENT(name) \
  VRAMWISE_ENTRY int name() { return kNvmlNotSupported; }
VRAMWISE_ABSENT(nvmlDeviceGetMigMode)
VRAMWISE_ABSENT(nvmlDeviceGetMaxMigDeviceCount)
VRAMWISE_ABSENT(nvmlDeviceGetMigDeviceHandleByIndex)
VRAMWISE_ABSENT(nvmlDeviceIsMigDeviceHandle)
VRAMWISE_ABSENT(nvmlDeviceGetEccMode)
VRAMWISE_ABSENT(nvmlDeviceGetNvLinkState)
VRAMWISE_ABSENT(nvmlDeviceGetNvLinkRemoteDeviceType)
VRAMWISE_ABSENT(nvmlDeviceGetNvLinkRemotePciInfo_v2)
VRAMWISE_ABSENT(nvmlDeviceGetTemperature)
VRAMWISE_ABSENT(nvmlDeviceGetPowerUsage)
VRAMWISE_ABSENT(nvmlDeviceGetEnforcedPowerLimit)
VRAMWISE_ABSENT(nvmlDeviceGetFanSpeed)
VRAMWISE_ABSENT(nvmlDeviceGetClockInfo)
VRAMWISE_ABSENT(nvmlDeviceGetPcieThroughput)
#undef VRAMWISE_ABSENT
