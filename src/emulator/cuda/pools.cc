// Stream-ordered memory (cudaMallocAsync and its pools). Here memory that is freed goes back to the card at once; a
// real pool may hold it until the stream is synchronized. That is said in the ledger.
#include <cstdint>

#include "emulator/cuda/abi.h"
#include "emulator/process.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

constexpr const char* kAssumption = "memory pools give freed memory back to the card at once";

int allocate(Machine& machine, int device, void** pointer, std::size_t size) {
  assume(kAssumption);
  const Bytes wanted(static_cast<std::int64_t>(size == 0 ? 1 : size));
  *pointer = machine.memory().allocate(device, wanted, machine.next_moment());
  if (*pointer == nullptr) return kOutOfMemory;
  MemoryPool& pool = machine.pool(device);
  pool.blocks[*pointer] = wanted;
  pool.used += wanted;
  if (pool.used > pool.used_peak) pool.used_peak = pool.used;
  return kSuccess;
}

int release(Machine& machine, void* pointer) {
  machine.next_moment();
  if (pointer == nullptr) return kSuccess;
  for (int device = 0; device < machine.device_count(); ++device) {
    MemoryPool& pool = machine.pool(device);
    const auto block = pool.blocks.find(pointer);
    if (block == pool.blocks.end()) continue;
    pool.used -= block->second;
    pool.blocks.erase(block);
  }
  return machine.memory().free(pointer) ? kSuccess : kInvalidValue;
}

int get_attribute(const MemoryPool& pool, int attribute, void* value) {
  switch (attribute) {
    case 1:
    case 2:
    case 3:
      *static_cast<int*>(value) = 1;
      return kSuccess;
    case 4:
      *static_cast<std::uint64_t*>(value) = pool.release_threshold;
      return kSuccess;
    case 5:
    case 7:
      *static_cast<std::uint64_t*>(value) = static_cast<std::uint64_t>(pool.used.count());
      return kSuccess;
    case 6:
    case 8:
      *static_cast<std::uint64_t*>(value) = static_cast<std::uint64_t>(pool.used_peak.count());
      return kSuccess;
    default:
      return kInvalidValue;
  }
}

int set_attribute(MemoryPool& pool, int attribute, const void* value) {
  if (attribute == 4) pool.release_threshold = *static_cast<const std::uint64_t*>(value);
  if (attribute == 6 || attribute == 8) pool.used_peak = pool.used;  // only resetting to the present use is allowed
  return attribute >= 1 && attribute <= 8 ? kSuccess : kInvalidValue;
}

}  // namespace

VRAMWISE_ENTRY int cudaMallocAsync(void** pointer, std::size_t size, void*) {
  return runtime_on_device([&](Machine& machine, int device) { return allocate(machine, device, pointer, size); });
}

VRAMWISE_ENTRY int cudaMallocFromPoolAsync(void** pointer, std::size_t size, MemoryPool* pool, void*) {
  return runtime_on_device([&](Machine& machine, int) { return allocate(machine, pool->device, pointer, size); });
}

VRAMWISE_ENTRY int cudaFreeAsync(void* pointer, void*) {
  return runtime_on_device([&](Machine& machine, int) { return release(machine, pointer); });
}

VRAMWISE_ENTRY int cudaDeviceGetDefaultMemPool(MemoryPool** pool, int device) {
  return runtime([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    *pool = &machine.pool(device);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaDeviceGetMemPool(MemoryPool** pool, int device) {
  return cudaDeviceGetDefaultMemPool(pool, device);
}

VRAMWISE_ENTRY int cudaMemPoolGetAttribute(MemoryPool* pool, int attribute, void* value) {
  return runtime([&](Machine&) { return get_attribute(*pool, attribute, value); });
}

VRAMWISE_ENTRY int cudaMemPoolSetAttribute(MemoryPool* pool, int attribute, void* value) {
  return runtime([&](Machine&) { return set_attribute(*pool, attribute, value); });
}

VRAMWISE_ENTRY int cudaMemPoolSetAccess(MemoryPool*, const void*, std::size_t) { return kSuccess; }
VRAMWISE_ENTRY int cudaMemPoolTrimTo(MemoryPool*, std::size_t) { return kSuccess; }
VRAMWISE_ENTRY int cudaMemPoolCreate() { return refuse("cudaMemPoolCreate", kNotSupported); }

// cudaGraphMemAttributeType: memory of allocation nodes in graphs, which captures here do not make.
VRAMWISE_ENTRY int cudaDeviceGetGraphMemAttribute(int, int, void* value) {
  *static_cast<std::uint64_t*>(value) = 0;
  return kSuccess;
}
VRAMWISE_ENTRY int cudaDeviceSetGraphMemAttribute(int, int, void*) { return kSuccess; }

VRAMWISE_ENTRY int cuMemAllocAsync(void** pointer, std::size_t size, void*) {
  return driver_on_device([&](Machine& machine, int device) { return allocate(machine, device, pointer, size); });
}

VRAMWISE_ENTRY int cuMemFreeAsync(void* pointer, void*) {
  return driver_on_device([&](Machine& machine, int) { return release(machine, pointer); });
}

VRAMWISE_ENTRY int cuDeviceGetDefaultMemPool(MemoryPool** pool, int device) {
  return cudaDeviceGetDefaultMemPool(pool, device);
}
