// Driver functions that are asked for by name. A name stands for the newest form that the given CUDA version had; a
// name that we do not have is answered "not found", as an older driver would, and noted.
#include <cstdint>
#include <string>

#include "emulator/cuda/rest.h"
#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

constexpr int kFound = 0;
constexpr int kSymbolNotFound = 1;

void* find(const char* name) {
  const std::string base = name;
  // cuMemAlloc means cuMemAlloc_v2 to every program of this century; nothing here has a form that only a plain name
  // denotes.
  for (const char* suffix : {"_v4", "_v3", "_v2", ""}) {
    // A function that would only refuse is better not found: programs then take another way.
    if (is_refused_driver_function(base + suffix)) continue;
    if (void* function = own_symbol(base + suffix)) return function;
  }
  const std::lock_guard lock(state_mutex());
  if (Machine* machine = machine_or_null()) ++machine->recorder().absent[base];
  return nullptr;
}

int look_up(const char* name, void** function, int* status) {
  *function = find(name);
  if (status != nullptr) *status = *function != nullptr ? kFound : kSymbolNotFound;
  return kSuccess;
}

}  // namespace

VRAMWISE_ENTRY int cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                                    int* status) {
  return look_up(name, function, status);
}

VRAMWISE_ENTRY int cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long, int* status) {
  return look_up(name, function, status);
}

VRAMWISE_ENTRY int cuGetProcAddress_v2(const char* name, void** function, int, std::uint64_t, int* status) {
  look_up(name, function, status);
  return *function != nullptr ? kSuccess : kNotFound;
}

VRAMWISE_ENTRY int cuGetProcAddress(const char* name, void** function, int version, std::uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

// Private tables between NVIDIA's own libraries (profilers ask for them). They allocate nothing.
VRAMWISE_ENTRY int cuGetExportTable(const void**, const void*) {
  const std::lock_guard lock(state_mutex());
  if (Machine* machine = machine_or_null()) ++machine->recorder().absent["cuGetExportTable"];
  return kNotSupported;
}
