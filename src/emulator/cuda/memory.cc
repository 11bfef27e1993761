// Device memory and page-locked host memory, by runtime and driver.
#include <cstdint>

#include "emulator/cuda/abi.h"
#include "emulator/process.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

// Requests beyond this can be no size of anything; Bytes is signed.
constexpr std::size_t kLargestRequest = std::size_t{1} << 50;

int allocate(Machine& machine, int device, void** pointer, std::size_t size) {
  *pointer = nullptr;
  if (size == 0) return kSuccess;
  if (size > kLargestRequest) return kOutOfMemory;
  *pointer = machine.memory().allocate(device, Bytes(static_cast<std::int64_t>(size)), machine.next_moment());
  return *pointer == nullptr ? kOutOfMemory : kSuccess;
}

int release(Machine& machine, void* pointer) {
  if (pointer == nullptr) return kSuccess;
  machine.next_moment();
  if (machine.memory().free(pointer) || machine.memory().free_pinned(pointer))
    return kSuccess;  // pinned: managed memory
  return kInvalidValue;
}

int allocate_host(Machine& machine, void** pointer, std::size_t size, RegionKind kind) {
  if (size > kLargestRequest) return kOutOfMemory;
  machine.next_moment();
  *pointer = machine.memory().allocate_pinned(Bytes(static_cast<std::int64_t>(size)), kind, thread_state().device);
  return *pointer == nullptr ? kOutOfMemory : kSuccess;
}

int memory_info(Machine& machine, int device, std::size_t* free, std::size_t* total) {
  const DeviceLedger& ledger = machine.memory().ledger(device);
  if (free != nullptr) *free = static_cast<std::size_t>(ledger.free().count());
  if (total != nullptr) *total = static_cast<std::size_t>(ledger.capacity().count());
  return kSuccess;
}

int register_host(Machine& machine, void* pointer, std::size_t size) {
  machine.next_moment();
  if (pointer == nullptr || size == 0 || size > kLargestRequest) return kInvalidValue;
  return machine.memory().register_pinned(pointer, Bytes(static_cast<std::int64_t>(size)))
             ? kSuccess
             : kHostMemoryAlreadyRegistered;
}

int unregister_host(Machine& machine, void* pointer) {
  machine.next_moment();
  return machine.memory().free_pinned(pointer) ? kSuccess : kHostMemoryNotRegistered;
}

int free_host(Machine& machine, void* pointer) {
  machine.next_moment();
  return pointer == nullptr || machine.memory().free_pinned(pointer) ? kSuccess : kInvalidValue;
}

Region* region_of(Machine& machine, const void* pointer) {
  return machine.memory().space().find(reinterpret_cast<std::uintptr_t>(pointer));
}

}  // namespace

VRAMWISE_ENTRY int cudaMalloc(void** pointer, std::size_t size) {
  return runtime_on_device([&](Machine& machine, int device) { return allocate(machine, device, pointer, size); });
}

VRAMWISE_ENTRY int cudaFree(void* pointer) {
  return runtime_on_device([&](Machine& machine, int device) {
    machine.wait_for_device(device);  // as cudaFree does
    return release(machine, pointer);
  });
}

VRAMWISE_ENTRY int cudaMallocManaged(void** pointer, std::size_t size, unsigned) {
  assume("managed memory stays on the host");
  return runtime_on_device(
      [&](Machine& machine, int) { return allocate_host(machine, pointer, size, RegionKind::kManaged); });
}

VRAMWISE_ENTRY int cudaHostAlloc(void** pointer, std::size_t size, unsigned) {
  return runtime_on_device(
      [&](Machine& machine, int) { return allocate_host(machine, pointer, size, RegionKind::kPinned); });
}

VRAMWISE_ENTRY int cudaMallocHost(void** pointer, std::size_t size) { return cudaHostAlloc(pointer, size, 0); }

VRAMWISE_ENTRY int cudaFreeHost(void* pointer) {
  return runtime([&](Machine& machine) { return free_host(machine, pointer); });
}

VRAMWISE_ENTRY int cudaHostRegister(void* pointer, std::size_t size, unsigned) {
  return runtime_on_device([&](Machine& machine, int) { return register_host(machine, pointer, size); });
}

VRAMWISE_ENTRY int cudaHostUnregister(void* pointer) {
  return runtime([&](Machine& machine) { return unregister_host(machine, pointer); });
}

VRAMWISE_ENTRY int cudaHostGetDevicePointer(void** device_pointer, void* host_pointer, unsigned) {
  *device_pointer = host_pointer;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaHostGetFlags(unsigned* flags, void*) {
  *flags = 0;
  return kSuccess;
}

VRAMWISE_ENTRY int cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return runtime_on_device([&](Machine& machine, int device) { return memory_info(machine, device, free, total); });
}

// Hints and migrations of managed memory. (CUDA 12's and 13's have other parameters; neither is looked at.)
VRAMWISE_ENTRY int cudaMemPrefetchAsync() {
  assume("managed memory stays on the host");
  return kSuccess;
}
VRAMWISE_ENTRY int cudaMemAdvise() { return kSuccess; }

VRAMWISE_ENTRY int cudaPointerGetAttributes(PointerAttributes* attributes, const void* pointer) {
  return runtime([&](Machine& machine) {
    *attributes = {.type = 0, .device = -2, .devicePointer = nullptr, .hostPointer = const_cast<void*>(pointer)};
    const Region* region = region_of(machine, pointer);
    if (region == nullptr) return kSuccess;
    auto* address = const_cast<void*>(pointer);
    if (region->on_device()) {
      *attributes = {.type = 2, .device = region->device, .devicePointer = address, .hostPointer = nullptr};
    } else {
      const int type = region->kind == RegionKind::kManaged ? 3 : 1;
      *attributes = {.type = type, .device = region->device, .devicePointer = address, .hostPointer = address};
    }
    return kSuccess;
  });
}

// ---- driver
// -------------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cuMemAlloc_v2(void** pointer, std::size_t size) {
  return driver_on_device([&](Machine& machine, int device) -> int {
    return size == 0 ? static_cast<int>(kInvalidValue) : allocate(machine, device, pointer, size);
  });
}

VRAMWISE_ENTRY int cuMemFree_v2(void* pointer) {
  return driver_on_device([&](Machine& machine, int device) {
    machine.wait_for_device(device);
    return release(machine, pointer);
  });
}

VRAMWISE_ENTRY int cuMemAllocManaged(void** pointer, std::size_t size, unsigned) {
  assume("managed memory stays on the host");
  return driver_on_device(
      [&](Machine& machine, int) { return allocate_host(machine, pointer, size, RegionKind::kManaged); });
}

VRAMWISE_ENTRY int cuMemHostAlloc(void** pointer, std::size_t size, unsigned) {
  return driver_on_device(
      [&](Machine& machine, int) { return allocate_host(machine, pointer, size, RegionKind::kPinned); });
}

VRAMWISE_ENTRY int cuMemAllocHost_v2(void** pointer, std::size_t size) { return cuMemHostAlloc(pointer, size, 0); }

VRAMWISE_ENTRY int cuMemFreeHost(void* pointer) {
  return driver([&](Machine& machine) { return free_host(machine, pointer); });
}

VRAMWISE_ENTRY int cuMemHostRegister_v2(void* pointer, std::size_t size, unsigned) {
  return driver_on_device([&](Machine& machine, int) { return register_host(machine, pointer, size); });
}

VRAMWISE_ENTRY int cuMemHostUnregister(void* pointer) {
  return driver([&](Machine& machine) { return unregister_host(machine, pointer); });
}

VRAMWISE_ENTRY int cuMemHostGetDevicePointer_v2(void** device_pointer, void* host_pointer, unsigned) {
  *device_pointer = host_pointer;
  return kSuccess;
}

VRAMWISE_ENTRY int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return driver_on_device([&](Machine& machine, int device) { return memory_info(machine, device, free, total); });
}

VRAMWISE_ENTRY int cuMemGetAddressRange_v2(void** base, std::size_t* size, void* pointer) {
  return driver([&](Machine& machine) {
    const Region* region = region_of(machine, pointer);
    if (region == nullptr) return kNotFound;
    if (base != nullptr) *base = reinterpret_cast<void*>(region->base);
    if (size != nullptr) *size = static_cast<std::size_t>(region->size.count());
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuPointerGetAttribute(void* data, int attribute, void* pointer) {
  return driver([&](Machine& machine) -> int {
    const Region* region = region_of(machine, pointer);
    if (region == nullptr) return kInvalidValue;
    switch (attribute) {
      case 1:
        *static_cast<Context**>(data) = machine.context(region->device);
        return kSuccess;
      case 2:
        *static_cast<unsigned*>(data) = region->on_device() ? 2 : 1;
        return kSuccess;  // CUmemorytype
      case 3:
        *static_cast<void**>(data) = pointer;
        return kSuccess;
      case 4:
        if (region->on_device()) return kInvalidValue;
        *static_cast<void**>(data) = pointer;
        return kSuccess;
      case 6:
        return kSuccess;  // SYNC_MEMOPS, set by cuPointerSetAttribute
      case 7:
        *static_cast<unsigned long long*>(data) = region->id;
        return kSuccess;
      case 8:
        *static_cast<unsigned*>(data) = region->kind == RegionKind::kManaged ? 1 : 0;
        return kSuccess;
      case 9:
        *static_cast<int*>(data) = region->device;
        return kSuccess;
      case 10:
        *static_cast<unsigned*>(data) = 0;
        return kSuccess;  // no IPC
      case 11:
        *static_cast<std::uintptr_t*>(data) = region->base;
        return kSuccess;
      case 12:
        *static_cast<std::size_t*>(data) = static_cast<std::size_t>(region->size.count());
        return kSuccess;
      case 13:
        *static_cast<unsigned*>(data) = 1;
        return kSuccess;
      default:
        return refuse("cuPointerGetAttribute", kNotSupported);
    }
  });
}

VRAMWISE_ENTRY int cuPointerGetAttributes(unsigned count, const int* attributes, void** data, void* pointer) {
  for (unsigned i = 0; i < count; ++i) {
    if (const int code = cuPointerGetAttribute(data[i], attributes[i], pointer); code != kSuccess) return code;
  }
  return kSuccess;
}

VRAMWISE_ENTRY int cuPointerSetAttribute(const void*, int, void*) { return kSuccess; }

// Sharing memory between processes: there is no other process that could map it.
VRAMWISE_ENTRY int cudaIpcGetMemHandle(void*, void*) { return refuse("cudaIpcGetMemHandle", kNotSupported); }
VRAMWISE_ENTRY int cudaIpcOpenMemHandle() { return refuse("cudaIpcOpenMemHandle", kNotSupported); }
VRAMWISE_ENTRY int cudaIpcCloseMemHandle(void*) { return refuse("cudaIpcCloseMemHandle", kNotSupported); }
VRAMWISE_ENTRY int cudaIpcGetEventHandle(void*, void*) { return refuse("cudaIpcGetEventHandle", kNotSupported); }
VRAMWISE_ENTRY int cudaIpcOpenEventHandle() { return refuse("cudaIpcOpenEventHandle", kNotSupported); }
