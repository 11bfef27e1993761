// Virtual memory management (cuMem…): what PyTorch's expandable segments are made of. Physical memory is taken from the
// card when it is created, not when it is mapped.
#include <cstdint>

#include "emulator/cuda/abi.h"
#include "emulator/process.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

constexpr int kLocationDevice = 1;

Bytes bytes(std::size_t size) { return Bytes(static_cast<std::int64_t>(size)); }
bool whole_granules(std::size_t size) { return size != 0 && size % static_cast<std::size_t>(kGranule.count()) == 0; }

}  // namespace

VRAMWISE_ENTRY int cuMemGetAllocationGranularity(std::size_t* granularity, const AllocationProperties*, int) {
  *granularity = static_cast<std::size_t>(kGranule.count());
  return kSuccess;
}

VRAMWISE_ENTRY int cuMemAddressReserve(std::uintptr_t* address, std::size_t size, std::size_t alignment, std::uintptr_t,
                                       unsigned long long) {
  return driver([&](Machine& machine) {
    if (!whole_granules(size)) return kInvalidValue;
    const Bytes unit = bytes(alignment) > kGranule ? bytes(alignment) : kGranule;
    const Region* region =
        machine.memory().space().reserve(bytes(size), RegionKind::kReserved, thread_state().device, unit);
    if (region == nullptr) return kOutOfMemory;
    *address = region->base;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuMemAddressFree(std::uintptr_t address, std::size_t) {
  return driver([&](Machine& machine) { return machine.memory().space().release(address) ? kSuccess : kInvalidValue; });
}

VRAMWISE_ENTRY int cuMemCreate(PhysicalMemory** handle, std::size_t size, const AllocationProperties* properties,
                               unsigned long long) {
  return driver([&](Machine& machine) -> int {
    if (!whole_granules(size)) return kInvalidValue;
    if (properties->requestedHandleTypes != 0 && (properties->requestedHandleTypes & ~1) != 0) return kNotSupported;
    const bool on_host = properties->location.type != kLocationDevice;
    const int device = on_host ? 0 : properties->location.id;
    if (!machine.has_device(device)) return kInvalidDevice;
    if (!machine.open_context(device)) return kOutOfMemory;
    *handle = machine.memory().create_physical(device, bytes(size), on_host, machine.next_moment());
    return *handle == nullptr ? kOutOfMemory : kSuccess;
  });
}

VRAMWISE_ENTRY int cuMemRelease(PhysicalMemory* handle) {
  return driver([&](Machine& machine) {
    if (!machine.memory().is_physical(handle)) return kInvalidValue;
    machine.next_moment();
    machine.memory().release_physical(handle);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuMemMap(std::uintptr_t address, std::size_t size, std::size_t offset, PhysicalMemory* handle,
                            unsigned long long) {
  return driver([&](Machine& machine) {
    if (!machine.memory().is_physical(handle) || offset != 0 || !whole_granules(size)) return kInvalidValue;
    return machine.memory().map(address, handle, bytes(size)) ? kSuccess : kInvalidValue;
  });
}

VRAMWISE_ENTRY int cuMemUnmap(std::uintptr_t address, std::size_t size) {
  return driver([&](Machine& machine) {
    machine.next_moment();
    return machine.memory().unmap(address, bytes(size)) ? kSuccess : kInvalidValue;
  });
}

VRAMWISE_ENTRY int cuMemSetAccess(std::uintptr_t address, std::size_t, const void*, std::size_t) {
  return driver(
      [&](Machine& machine) { return machine.memory().mapped_at(address) != nullptr ? kSuccess : kInvalidValue; });
}

VRAMWISE_ENTRY int cuMemGetAccess(unsigned long long* flags, const MemoryLocation*, std::uintptr_t address) {
  return driver([&](Machine& machine) {
    *flags = machine.memory().mapped_at(address) != nullptr ? 3 : 0;  // CU_MEM_ACCESS_FLAGS_PROT_READWRITE
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuMemRetainAllocationHandle(PhysicalMemory** handle, void* address) {
  return driver([&](Machine& machine) {
    *handle = machine.memory().mapped_at(reinterpret_cast<std::uintptr_t>(address));
    if (*handle == nullptr) return kInvalidValue;
    ++(*handle)->references;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuMemGetAllocationPropertiesFromHandle(AllocationProperties* properties, PhysicalMemory* handle) {
  return driver([&](Machine& machine) {
    if (!machine.memory().is_physical(handle)) return kInvalidValue;
    *properties = AllocationProperties{};
    properties->type = 1;  // CU_MEM_ALLOCATION_TYPE_PINNED
    properties->location = {.type = handle->on_host ? 2 : kLocationDevice, .id = handle->device};
    return kSuccess;
  });
}

// Sharing with other processes, and multicast objects (NVSwitch): not modelled.
VRAMWISE_ENTRY int cuMemExportToShareableHandle() { return refuse("cuMemExportToShareableHandle", kNotSupported); }
VRAMWISE_ENTRY int cuMemImportFromShareableHandle() { return refuse("cuMemImportFromShareableHandle", kNotSupported); }
VRAMWISE_ENTRY int cuMemGetHandleForAddressRange() { return refuse("cuMemGetHandleForAddressRange", kNotSupported); }
VRAMWISE_ENTRY int cuMulticastCreate() { return refuse("cuMulticastCreate", kNotSupported); }
VRAMWISE_ENTRY int cuMulticastAddDevice() { return refuse("cuMulticastAddDevice", kNotSupported); }
VRAMWISE_ENTRY int cuMulticastBindMem() { return refuse("cuMulticastBindMem", kNotSupported); }
VRAMWISE_ENTRY int cuMulticastUnbind() { return refuse("cuMulticastUnbind", kNotSupported); }
VRAMWISE_ENTRY int cuMulticastGetGranularity() { return refuse("cuMulticastGetGranularity", kNotSupported); }
