// Kernels: what the program registers, asks about and launches. A launch is skipped, but only where a real card had
// code to run.
#include <algorithm>
#include <cstdint>

#include "emulator/cuda/abi.h"
#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

/// What the compiler hands to __cudaRegisterFatBinary.
struct FatBinaryWrapper {
  int magic;
  int version;
  const void* data;
  void* unused;
};

// A kernel's registers and shared memory stand in its machine code, which is not read. These are usual values; launch
// geometry that is computed from them decides sizes of scratch memory in a few library routines only.
constexpr int kAssumedRegisters = 32;
constexpr int kNoSuchFunction = 98;  // cudaErrorInvalidDeviceFunction

int launch(Machine& machine, int device, const void* function, void* stream) {
  machine.count_launch(stream, device);
  Kernel* kernel = modules().find(function);
  if (kernel == nullptr) return kSuccess;  // loaded by cuModuleLoadData or cudaLibraryLoadData: made for this card
  return modules().code_for(*kernel, machine.card(device).capability()).found ? kSuccess : kNoBinaryForGpu;
}

int blocks_per_sm(const CardSpec& card, int block_threads, std::size_t shared_bytes) {
  if (block_threads <= 0 || block_threads > 1024) return 0;
  const int warps = (block_threads + 31) / 32;
  int blocks = std::min(card.limits.blocks_per_sm, card.limits.threads_per_sm / (warps * 32));
  blocks = std::min(blocks, 65536 / (kAssumedRegisters * warps * 32));
  const std::size_t per_block = shared_bytes + (card.capability_major >= 8 ? 1024 : 0);
  if (shared_bytes != 0) {
    blocks =
        std::min(blocks, static_cast<int>(static_cast<std::size_t>(card.limits.shared_kib_per_sm) * 1024 / per_block));
  }
  return blocks;
}

int function_attributes(Machine& machine, int device, const void* function, FunctionAttributes* out) {
  const CardSpec& card = machine.card(device);
  Kernel* kernel = modules().find(function);
  if (kernel == nullptr) return kNoSuchFunction;
  const ChosenCode code = modules().code_for(*kernel, card.capability());
  if (!code.found) return kNoBinaryForGpu;
  out->sharedSizeBytes = 0;
  out->constSizeBytes = 0;
  out->localSizeBytes = 0;
  out->maxThreadsPerBlock = 1024;
  out->numRegs = kAssumedRegisters;
  out->ptxVersion = code.ptx_capability;
  out->binaryVersion = code.binary_capability;
  out->cacheModeCA = 0;
  out->maxDynamicSharedSizeBytes = kernel->max_dynamic_shared_bytes;
  out->preferredShmemCarveout = -1;
  return kSuccess;
}

/// The beginning of cudaLaunchConfig_t, too.
struct LaunchConfiguration {
  Dim3 grid;
  Dim3 block;
  std::size_t shared_bytes = 0;
  void* stream = nullptr;
};

std::vector<LaunchConfiguration>& pending_launches() {
  static thread_local std::vector<LaunchConfiguration> pending;
  return pending;
}

}  // namespace

// ---- what nvcc's host code calls at start-up; no device is asked for
// -----------------------------------------------------------

VRAMWISE_ENTRY void** __cudaRegisterFatBinary(const FatBinaryWrapper* wrapper) {
  const std::lock_guard lock(state_mutex());
  return reinterpret_cast<void**>(modules().add_module(wrapper->data));
}
VRAMWISE_ENTRY void __cudaRegisterFatBinaryEnd(void**) {}
VRAMWISE_ENTRY void __cudaUnregisterFatBinary(void**) {}
VRAMWISE_ENTRY char __cudaInitModule(void**) { return 1; }

VRAMWISE_ENTRY void __cudaRegisterFunction(void** module, const char* host_function, char*, const char* name, int,
                                           void*, void*, void*, void*, int*) {
  const std::lock_guard lock(state_mutex());
  modules().add_kernel(reinterpret_cast<Module*>(module), host_function, name);
}

VRAMWISE_ENTRY void __cudaRegisterVar(void**, char* host_variable, char*, const char*, int, std::size_t size, int,
                                      int) {
  const std::lock_guard lock(state_mutex());
  modules().add_variable(host_variable, size);
}
VRAMWISE_ENTRY void __cudaRegisterManagedVar(void**, void** host_pointer, char*, const char*, int, std::size_t size,
                                             int, int) {
  *host_pointer = new char[size]();
}

VRAMWISE_ENTRY unsigned __cudaPushCallConfiguration(Dim3 grid, Dim3 block, std::size_t shared_bytes, void* stream) {
  pending_launches().push_back({grid, block, shared_bytes, stream});
  return 0;
}

VRAMWISE_ENTRY int __cudaPopCallConfiguration(Dim3* grid, Dim3* block, std::size_t* shared_bytes, void* stream) {
  auto& pending = pending_launches();
  if (pending.empty()) return 52;  // cudaErrorMissingConfiguration
  *grid = pending.back().grid;
  *block = pending.back().block;
  *shared_bytes = pending.back().shared_bytes;
  *static_cast<void**>(stream) = pending.back().stream;
  pending.pop_back();
  return kSuccess;
}

// A cudaKernel_t of ours is the address of the host function.
VRAMWISE_ENTRY int __cudaGetKernel(const void** kernel, const void* host_function) {
  *kernel = host_function;
  return kSuccess;
}

// ---- launches
// ------------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cudaLaunchKernel(const void* function, Dim3, Dim3, void**, std::size_t, void* stream) {
  return runtime_on_device([&](Machine& machine, int device) { return launch(machine, device, function, stream); });
}
VRAMWISE_ENTRY int __cudaLaunchKernel(const void* kernel, Dim3, Dim3, void**, std::size_t, void* stream) {
  return runtime_on_device([&](Machine& machine, int device) { return launch(machine, device, kernel, stream); });
}
VRAMWISE_ENTRY int cudaLaunchCooperativeKernel(const void* function, Dim3, Dim3, void**, std::size_t, void* stream) {
  return runtime_on_device([&](Machine& machine, int device) { return launch(machine, device, function, stream); });
}
VRAMWISE_ENTRY int cudaLaunchKernelExC(const LaunchConfiguration* configuration, const void* function, void**) {
  return runtime_on_device(
      [&](Machine& machine, int device) { return launch(machine, device, function, configuration->stream); });
}

// ---- questions
// -----------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cudaFuncGetAttributes(FunctionAttributes* attributes, const void* function) {
  return runtime_on_device(
      [&](Machine& machine, int device) { return function_attributes(machine, device, function, attributes); });
}

VRAMWISE_ENTRY int cudaFuncSetAttribute(const void* function, int attribute, int value) {
  return runtime_on_device([&](Machine& machine, int device) {
    constexpr int kMaxDynamicShared = 8;
    if (attribute != kMaxDynamicShared) return kSuccess;
    if (value > machine.card(device).limits.shared_kib_per_block_optin * 1024) return kInvalidValue;
    if (Kernel* kernel = modules().find(function)) kernel->max_dynamic_shared_bytes = value;
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cudaFuncSetCacheConfig(const void*, int) { return kSuccess; }
VRAMWISE_ENTRY int cudaKernelSetAttributeForDevice(const void*, int, int, int) { return kSuccess; }
VRAMWISE_ENTRY int cudaFuncGetName(const char** name, const void* function) {
  return runtime([&](Machine&) -> int {
    const Kernel* kernel = modules().find(function);
    if (kernel == nullptr) return kNoSuchFunction;
    *name = kernel->name;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int block_threads,
                                                                          std::size_t shared_bytes, unsigned) {
  return runtime_on_device([&](Machine& machine, int device) {
    *blocks = blocks_per_sm(machine.card(device), block_threads, shared_bytes);
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int block_threads,
                                                                 std::size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_threads, shared_bytes, 0);
}
VRAMWISE_ENTRY int cudaOccupancyMaxActiveClusters(int* clusters, const void*, const void*) {
  return runtime_on_device([&](Machine& machine, int device) {
    *clusters = machine.card(device).sm_count;
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int block_threads,
                                                               std::size_t shared_bytes) {
  return driver_on_device([&](Machine& machine, int device) {
    *blocks = blocks_per_sm(machine.card(device), block_threads, shared_bytes);
    return kSuccess;
  });
}
VRAMWISE_ENTRY int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function,
                                                                        int block_threads, std::size_t shared_bytes,
                                                                        unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_threads, shared_bytes);
}
VRAMWISE_ENTRY int cuOccupancyMaxActiveClusters(int* clusters, const void* function, const void* configuration) {
  return cudaOccupancyMaxActiveClusters(clusters, function, configuration);
}
