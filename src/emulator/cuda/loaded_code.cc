// Device code that a program loads while it runs (NVRTC, Triton, CUTLASS DSL): accepted whole, never looked into. Such
// code was compiled for this card a moment before.
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "emulator/process.h"

using namespace vramwise::emulator;

namespace {

struct LoadedCode {
  std::unordered_map<std::string, std::unique_ptr<std::string>> functions;  ///< name → handle: the address of the name
};

/// The beginning of CUlaunchConfig.
struct LaunchConfiguration {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void* stream;
};

int load(LoadedCode** module) {
  *module = new LoadedCode;
  return kSuccess;
}

int function_of(LoadedCode* module, const char* name, void** function) {
  auto& slot = module->functions[name];
  if (!slot) slot = std::make_unique<std::string>(name);
  *function = slot.get();
  return kSuccess;
}

int launch(void* stream) {
  return driver_on_device([&](Machine& machine, int device) {
    machine.count_launch(stream, device);
    return kSuccess;
  });
}

int function_attribute(int* value, int attribute) {
  return driver_on_device([&](Machine& machine, int device) {
    const CardSpec& card = machine.card(device);
    switch (attribute) {
      case 0:
        *value = 1024;
        break;  // MAX_THREADS_PER_BLOCK
      case 4:
        *value = 32;
        break;  // NUM_REGS
      case 5:
      case 6:
        *value = card.capability();
        break;  // PTX_VERSION, BINARY_VERSION
      case 8:
        *value = 48 * 1024;
        break;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
      default:
        *value = 0;
        break;
    }
    return kSuccess;
  });
}

}  // namespace

VRAMWISE_ENTRY int cuModuleLoadData(LoadedCode** module, const void*) { return load(module); }
VRAMWISE_ENTRY int cuModuleLoadDataEx(LoadedCode** module, const void*, unsigned, void*, void*) { return load(module); }
VRAMWISE_ENTRY int cuModuleLoad(LoadedCode** module, const char*) { return load(module); }
VRAMWISE_ENTRY int cuModuleLoadFatBinary(LoadedCode** module, const void*) { return load(module); }
VRAMWISE_ENTRY int cuModuleUnload(LoadedCode* module) {
  delete module;
  return kSuccess;
}
VRAMWISE_ENTRY int cuModuleGetFunction(void** function, LoadedCode* module, const char* name) {
  return driver([&](Machine&) { return function_of(module, name, function); });
}
VRAMWISE_ENTRY int cuModuleGetGlobal_v2(void**, std::size_t*, LoadedCode*, const char*) {
  return refuse("cuModuleGetGlobal", kNotFound);
}
VRAMWISE_ENTRY int cuModuleGetLoadingMode(int* mode) {
  *mode = 2;  // CU_MODULE_LAZY_LOADING, the default since CUDA 12.2
  return kSuccess;
}

VRAMWISE_ENTRY int cuLibraryLoadData(LoadedCode** library, const void*, void*, void*, unsigned, void*, void*,
                                     unsigned) {
  return load(library);
}
VRAMWISE_ENTRY int cuLibraryUnload(LoadedCode* library) { return cuModuleUnload(library); }
VRAMWISE_ENTRY int cuLibraryGetKernel(void** kernel, LoadedCode* library, const char* name) {
  return driver([&](Machine&) { return function_of(library, name, kernel); });
}
VRAMWISE_ENTRY int cuLibraryGetModule(LoadedCode** module, LoadedCode* library) {
  *module = library;
  return kSuccess;
}
VRAMWISE_ENTRY int cuKernelGetFunction(void** function, void* kernel) {
  *function = kernel;
  return kSuccess;
}
VRAMWISE_ENTRY int cuKernelSetAttribute(int, int, void*, int) { return kSuccess; }
VRAMWISE_ENTRY int cuKernelGetAttribute(int* value, int attribute, void*, int) {
  return function_attribute(value, attribute);
}

VRAMWISE_ENTRY int cudaLibraryLoadData(LoadedCode** library, const void*, void*, void*, unsigned, void*, void*,
                                       unsigned) {
  return load(library);
}
VRAMWISE_ENTRY int cudaLibraryUnload(LoadedCode* library) { return cuModuleUnload(library); }
VRAMWISE_ENTRY int cudaLibraryGetKernel(void** kernel, LoadedCode* library, const char* name) {
  return runtime([&](Machine&) { return function_of(library, name, kernel); });
}

VRAMWISE_ENTRY int cuFuncGetAttribute(int* value, int attribute, void*) { return function_attribute(value, attribute); }
VRAMWISE_ENTRY int cuFuncSetAttribute(void*, int, int) { return kSuccess; }
VRAMWISE_ENTRY int cuFuncSetCacheConfig(void*, int) { return kSuccess; }
VRAMWISE_ENTRY int cuFuncGetModule(LoadedCode**, void*) { return refuse("cuFuncGetModule", kNotFound); }

VRAMWISE_ENTRY int cuLaunchKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                  void* stream, void**, void**) {
  return launch(stream);
}
VRAMWISE_ENTRY int cuLaunchCooperativeKernel(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                             unsigned, void* stream, void**) {
  return launch(stream);
}
VRAMWISE_ENTRY int cuLaunchKernelEx(const LaunchConfiguration* configuration, void*, void**, void**) {
  return launch(configuration->stream);
}

// Tensor maps describe copies inside kernels that are skipped.
VRAMWISE_ENTRY int cuTensorMapEncodeTiled() { return kSuccess; }
VRAMWISE_ENTRY int cuTensorMapEncodeIm2col() { return kSuccess; }

VRAMWISE_ENTRY int cuLinkCreate_v2() { return refuse("cuLinkCreate", kNotSupported); }
VRAMWISE_ENTRY int cuLinkAddData_v2() { return refuse("cuLinkAddData", kNotSupported); }
VRAMWISE_ENTRY int cuLinkComplete() { return refuse("cuLinkComplete", kNotSupported); }
VRAMWISE_ENTRY int cuLinkDestroy() { return refuse("cuLinkDestroy", kNotSupported); }
