// Cards as CUDA shows them: how many, which is current, what they are.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "emulator/cuda/abi.h"
#include "emulator/cuda/attributes.h"
#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

constexpr const char* kRuntimeLibraries[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", nullptr};

/// Members that CUDA 12 and 13 have in common, under the same names.
template <typename Properties>
void fill_properties(const Machine& machine, int device, Properties& out) {
  const CardSpec& card = machine.card(device);
  out = Properties{};
  std::snprintf(out.name, sizeof out.name, "%s", card.name.c_str());
  std::copy(card.uuid.begin(), card.uuid.end(), out.uuid);
  out.totalGlobalMem = static_cast<std::size_t>(card.total.count());
  const auto attribute = [&](int number) { return device_attribute(machine, device, number).value_or(0); };
  out.sharedMemPerBlock = static_cast<std::size_t>(attribute(8));
  out.regsPerBlock = attribute(12);
  out.warpSize = attribute(10);
  out.memPitch = static_cast<std::size_t>(attribute(11));
  out.maxThreadsPerBlock = attribute(1);
  for (int i = 0; i < 3; ++i) {
    out.maxThreadsDim[i] = attribute(2 + i);
    out.maxGridSize[i] = attribute(5 + i);
  }
  out.totalConstMem = static_cast<std::size_t>(attribute(9));
  out.major = card.capability_major;
  out.minor = card.capability_minor;
  out.textureAlignment = static_cast<std::size_t>(attribute(14));
  out.texturePitchAlignment = static_cast<std::size_t>(attribute(51));
  out.multiProcessorCount = card.sm_count;
  out.canMapHostMemory = 1;
  out.surfaceAlignment = static_cast<std::size_t>(attribute(30));
  out.concurrentKernels = 1;
  out.pciBusID = attribute(33);
  out.asyncEngineCount = attribute(40);
  out.unifiedAddressing = 1;
  out.memoryBusWidth = card.memory_bus_bits;
  out.l2CacheSize = attribute(38);
  out.maxThreadsPerMultiProcessor = attribute(39);
  out.streamPrioritiesSupported = 1;
  out.globalL1CacheSupported = 1;
  out.localL1CacheSupported = 1;
  out.sharedMemPerMultiprocessor = static_cast<std::size_t>(attribute(81));
  out.regsPerMultiprocessor = attribute(82);
  out.managedMemory = 1;
  out.concurrentManagedAccess = 1;
  out.computePreemptionSupported = 1;
  out.canUseHostPointerForRegisteredMem = 1;
  out.cooperativeLaunch = 1;
  out.sharedMemPerBlockOptin = static_cast<std::size_t>(attribute(97));
  out.maxBlocksPerMultiProcessor = attribute(106);
  out.reservedSharedMemPerBlock = static_cast<std::size_t>(attribute(111));
  out.hostRegisterSupported = 1;
  out.memoryPoolsSupported = 1;
}

int pci_bus_id(const Machine& machine, int device, char* text, int length) {
  std::snprintf(text, static_cast<std::size_t>(length), "0000:%02X:00.0", machine.physical_index(device) + 1);
  return kSuccess;
}

}  // namespace

VRAMWISE_ENTRY int cudaGetDeviceCount(int* count) {
  return runtime([&](Machine& machine) {
    *count = machine.device_count();
    return *count == 0 ? kNoDevice : kSuccess;
  });
}

VRAMWISE_ENTRY int cudaGetDevice(int* device) {
  return runtime([&](Machine& machine) {
    *device = thread_state().device;
    return machine.device_count() == 0 ? kNoDevice : kSuccess;
  });
}

VRAMWISE_ENTRY int cudaSetDevice(int device) {
  return runtime([&](Machine& machine) -> int {
    if (!machine.has_device(device)) return kInvalidDevice;
    thread_state().device = device;
    thread_state().has_context = true;
    return machine.open_context(device) ? kSuccess : kOutOfMemory;  // since CUDA 12 this call opens the context
  });
}

VRAMWISE_ENTRY int cudaInitDevice(int device, unsigned, unsigned) {
  return runtime([&](Machine& machine) -> int {
    if (!machine.has_device(device)) return kInvalidDevice;
    return machine.open_context(device) ? kSuccess : kOutOfMemory;
  });
}

VRAMWISE_ENTRY int cudaGetDeviceProperties(DeviceProperties13* properties, int device) {
  return runtime([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    fill_properties(machine, device, *properties);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaGetDeviceProperties_v2(DeviceProperties12* properties, int device) {
  return runtime([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    fill_properties(machine, device, *properties);
    properties->clockRate = machine.card(device).clock_khz;
    properties->memoryClockRate = machine.card(device).memory_clock_khz;
    properties->deviceOverlap = 1;
    properties->singleToDoublePrecisionPerfRatio = 32;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  return runtime([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    const auto found = device_attribute(machine, device, attribute);
    if (found) *value = *found;
    return found ? kSuccess : kInvalidValue;
  });
}

VRAMWISE_ENTRY int cudaDeviceGetPCIBusId(char* text, int length, int device) {
  return runtime([&](Machine& machine) {
    return machine.has_device(device) ? pci_bus_id(machine, device, text, length) : static_cast<int>(kInvalidDevice);
  });
}

VRAMWISE_ENTRY int cudaDeviceCanAccessPeer(int* possible, int, int) {
  *possible = 0;  // as between most workstation cards; copies between cards go through the host
  return kSuccess;
}

VRAMWISE_ENTRY int cudaDeviceEnablePeerAccess(int, unsigned) { return refuse("cudaDeviceEnablePeerAccess", 217); }

VRAMWISE_ENTRY int cudaDeviceSynchronize() {
  return runtime_on_device([](Machine& machine, int device) {
    machine.wait_for_device(device);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaDeviceReset() { return refuse("cudaDeviceReset", kNotSupported); }
VRAMWISE_ENTRY int cudaSetDeviceFlags(unsigned) { return kSuccess; }
VRAMWISE_ENTRY int cudaDeviceSetCacheConfig(int) { return kSuccess; }
VRAMWISE_ENTRY int cudaProfilerStart() { return kSuccess; }
VRAMWISE_ENTRY int cudaProfilerStop() { return kSuccess; }

VRAMWISE_ENTRY int cudaDriverGetVersion(int* version) {
  *version = 0;
  return runtime([&](Machine& machine) {
    *version = machine.spec().cuda_driver_version;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaRuntimeGetVersion(int* version) {
  using Function = int (*)(int*);
  // The real runtime is loaded too, and knows its own version without a driver.
  if (const auto real = reinterpret_cast<Function>(real_symbol(kRuntimeLibraries, "cudaRuntimeGetVersion")))
    return real(version);
  return runtime([&](Machine& machine) {
    *version = machine.spec().cuda_driver_version;
    return kSuccess;
  });
}

// ---- the driver's view of the same
// -------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cuInit(unsigned) {
  return driver([](Machine& machine) { return machine.device_count() == 0 ? kNoDevice : kSuccess; });
}

VRAMWISE_ENTRY int cuDriverGetVersion(int* version) { return cudaDriverGetVersion(version); }

VRAMWISE_ENTRY int cuDeviceGetCount(int* count) {
  return driver([&](Machine& machine) {
    *count = machine.device_count();
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuDeviceGet(int* device, int ordinal) {
  return driver([&](Machine& machine) {
    *device = ordinal;
    return machine.has_device(ordinal) ? kSuccess : kInvalidDevice;
  });
}

VRAMWISE_ENTRY int cuDeviceGetName(char* name, int length, int device) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    std::snprintf(name, static_cast<std::size_t>(length), "%s", machine.card(device).name.c_str());
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    std::copy(machine.card(device).uuid.begin(), machine.card(device).uuid.end(), uuid);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuDeviceGetUuid(unsigned char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

VRAMWISE_ENTRY int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    *bytes = static_cast<std::size_t>(machine.card(device).total.count());
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    const auto found = device_attribute(machine, device, attribute);
    if (found) *value = *found;
    return found ? kSuccess : kInvalidValue;
  });
}

VRAMWISE_ENTRY int cuDeviceGetPCIBusId(char* text, int length, int device) {
  return driver([&](Machine& machine) {
    return machine.has_device(device) ? pci_bus_id(machine, device, text, length) : static_cast<int>(kInvalidDevice);
  });
}

VRAMWISE_ENTRY int cuDeviceCanAccessPeer(int* possible, int a, int b) {
  return cudaDeviceCanAccessPeer(possible, a, b);
}

VRAMWISE_ENTRY int cuDeviceComputeCapability(int* major, int* minor, int device) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    *major = machine.card(device).capability_major;
    *minor = machine.card(device).capability_minor;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuProfilerStart() { return kSuccess; }
VRAMWISE_ENTRY int cuProfilerStop() { return kSuccess; }
