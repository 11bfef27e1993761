// The machine of this process, and what every entry point does around its own work: lock, note errors, refuse by name.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>
#include <utility>

#include "emulator/state/machine.h"
#include "emulator/state/modules.h"

/// Puts a function of C linkage into the library's table of symbols.
#define VRAMWISE_ENTRY extern "C" __attribute__((visibility("default")))

namespace vramwise::emulator {

/// Codes that the runtime (cudaError_t) and the driver (CUresult) share; those where they differ are not used.
enum Code : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidContext = 201,
  kNoBinaryForGpu = 209,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kPeerAccessAlreadyEnabled = 704,
  kHostMemoryAlreadyRegistered = 712,
  kHostMemoryNotRegistered = 713,
  kNotPermitted = 800,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureUnmatched = 903,
};

/// Held while the state is looked at or changed.
std::recursive_mutex& state_mutex();
/// The machine; null where there is none: no description of cards in the environment, or a fork of a process that had
/// one.
Machine* machine_or_null();
Modules& modules();

/// The calling thread's current device, and whether it has made a context current (the driver's view).
struct ThreadState {
  int device = 0;
  bool has_context = false;
  int last_error = 0;
  std::vector<Context*> pushed_contexts;  ///< cuCtxPushCurrent
  void* stream_of_library = nullptr;      ///< that a handle of cuBLAS, cuDNN, … was given last
  std::vector<unsigned char> next_read;   ///< what the next copy to the host of that size yields (hooks.h); empty: none
};
ThreadState& thread_state();

/// An entry point of the CUDA runtime: runs `body(Machine&)` under the lock; its code becomes the thread's last error.
template <typename Body>
int runtime(Body&& body) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  const int code = machine == nullptr ? kNoDevice : static_cast<int>(body(*machine));
  if (code != kSuccess) thread_state().last_error = code;
  return code;
}

/// An entry point of the driver or of a library: as runtime(), without a last error.
template <typename Body>
int driver(Body&& body) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  return machine == nullptr ? kNoDevice : static_cast<int>(body(*machine));
}

/// As runtime(), with the current device's context opened first.
template <typename Body>
int runtime_on_device(Body&& body) {
  return runtime([&](Machine& machine) -> int {
    const int device = thread_state().device;
    if (!machine.has_device(device)) return kInvalidDevice;
    if (!machine.open_context(device)) return kOutOfMemory;
    thread_state().has_context = true;  // the runtime makes the primary context current
    machine.advance(Costs::kCallNs);
    return body(machine, device);
  });
}

template <typename Body>
int driver_on_device(Body&& body) {
  return driver([&](Machine& machine) -> int {
    const int device = thread_state().device;
    if (!machine.has_device(device)) return kInvalidDevice;
    if (!machine.open_context(device)) return kOutOfMemory;
    machine.advance(Costs::kCallNs);
    return body(machine, device);
  });
}

/// Notes that an entry point was called which is not modelled, and returns the library's code for "not supported". With
/// `strict` it does not return.
int refuse(const char* name, int code);
/// Notes a library call whose arithmetic is skipped: it neither takes nor gives memory. Returns the library's success.
int computed(const char* name);
/// Notes what an answer was assumed from.
void assume(const char* what);

/// Our own entry point of that name, as dlsym would give it; null: none.
void* own_symbol(const std::string& name);
/// The symbol of the real library, if the program has loaded it; null otherwise. For questions that need no device, as
/// its version.
void* real_symbol(const char* const* library_names, const char* name);

/// Writes this process's ledger to the folder that VRAMWISE_LEDGER_DIR names.
void write_ledger();
/// The process that has a machine; 0: none yet. A fork of it has none.
pid_t process_with_machine();

}  // namespace vramwise::emulator
