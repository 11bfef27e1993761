// Contexts: each card has its primary one, which the runtime uses too. A context of a program's own (cuCtxCreate) would
// take memory that we do not know, and is refused.
#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

int make_current(Machine& machine, const Context* context) {
  ThreadState& thread = thread_state();
  thread.has_context = context != nullptr;
  if (context == nullptr) return kSuccess;
  if (!machine.has_device(context->device)) return kInvalidContext;
  thread.device = context->device;
  return kSuccess;
}

}  // namespace

VRAMWISE_ENTRY int cuDevicePrimaryCtxRetain(Context** context, int device) {
  return driver([&](Machine& machine) -> int {
    if (!machine.has_device(device)) return kInvalidDevice;
    if (!machine.open_context(device)) return kOutOfMemory;
    *context = machine.context(device);
    return kSuccess;
  });
}

// The context stays: the runtime and the libraries hold it until the process ends.
VRAMWISE_ENTRY int cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
VRAMWISE_ENTRY int cuDevicePrimaryCtxRelease(int) { return kSuccess; }
VRAMWISE_ENTRY int cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return kSuccess; }
VRAMWISE_ENTRY int cuDevicePrimaryCtxReset_v2(int) { return refuse("cuDevicePrimaryCtxReset", kNotSupported); }

VRAMWISE_ENTRY int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  return driver([&](Machine& machine) {
    if (!machine.has_device(device)) return kInvalidDevice;
    *flags = 0;
    *active = machine.has_context(device) ? 1 : 0;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuCtxGetCurrent(Context** context) {
  return driver([&](Machine& machine) {
    const ThreadState& thread = thread_state();
    *context = thread.has_context && machine.has_device(thread.device) ? machine.context(thread.device) : nullptr;
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuCtxSetCurrent(Context* context) {
  return driver([&](Machine& machine) { return make_current(machine, context); });
}

VRAMWISE_ENTRY int cuCtxPushCurrent_v2(Context* context) {
  return driver([&](Machine& machine) {
    ThreadState& thread = thread_state();
    thread.pushed_contexts.push_back(thread.has_context ? machine.context(thread.device) : nullptr);
    return make_current(machine, context);
  });
}

VRAMWISE_ENTRY int cuCtxPopCurrent_v2(Context** context) {
  return driver([&](Machine& machine) -> int {
    ThreadState& thread = thread_state();
    if (thread.pushed_contexts.empty()) return kInvalidContext;
    if (context != nullptr) *context = machine.context(thread.device);
    const Context* before = thread.pushed_contexts.back();
    thread.pushed_contexts.pop_back();
    return make_current(machine, before);
  });
}

VRAMWISE_ENTRY int cuCtxGetDevice(int* device) {
  return driver([&](Machine&) {
    *device = thread_state().device;
    return thread_state().has_context ? kSuccess : kInvalidContext;
  });
}

VRAMWISE_ENTRY int cuCtxGetApiVersion(Context*, unsigned* version) {
  *version = 3020;
  return kSuccess;
}

VRAMWISE_ENTRY int cuCtxSynchronize() {
  return driver_on_device([](Machine& machine, int device) {
    machine.wait_for_device(device);
    return kSuccess;
  });
}

VRAMWISE_ENTRY int cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return kSuccess;
}

VRAMWISE_ENTRY int cuCtxGetFlags(unsigned* flags) {
  *flags = 0;
  return kSuccess;
}

VRAMWISE_ENTRY int cuCtxCreate_v2(Context**, unsigned, int) { return refuse("cuCtxCreate", kNotSupported); }
VRAMWISE_ENTRY int cuCtxCreate_v4(Context**, void*, unsigned, int) { return refuse("cuCtxCreate", kNotSupported); }
VRAMWISE_ENTRY int cuCtxDestroy_v2(Context*) { return refuse("cuCtxDestroy", kNotSupported); }

namespace {

// CUlimit: the driver's defaults, which a context's size includes.
constexpr std::size_t kDefaultLimits[] = {1024, std::size_t{1} << 20,
                                          std::size_t{8} << 20};  // stack, printf, heap of device code

int get_limit(std::size_t* value, int limit) {
  *value = limit >= 0 && limit < 3 ? kDefaultLimits[limit] : 0;
  return kSuccess;
}

/// More than the default would take device memory by rules that are not published.
int set_limit(const char* name, int limit, std::size_t value) {
  return limit >= 3 || (limit >= 0 && value <= kDefaultLimits[limit]) ? static_cast<int>(kSuccess)
                                                                      : refuse(name, kNotSupported);
}

}  // namespace

VRAMWISE_ENTRY int cuCtxGetLimit(std::size_t* value, int limit) { return get_limit(value, limit); }
VRAMWISE_ENTRY int cudaDeviceGetLimit(std::size_t* value, int limit) { return get_limit(value, limit); }
VRAMWISE_ENTRY int cuCtxSetLimit(int limit, std::size_t value) { return set_limit("cuCtxSetLimit", limit, value); }
VRAMWISE_ENTRY int cudaDeviceSetLimit(int limit, std::size_t value) {
  return set_limit("cudaDeviceSetLimit", limit, value);
}
