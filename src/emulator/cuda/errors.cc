// Names and texts of errors. The names are the API's; the texts are those that programs show, or match, in messages.
#include "emulator/process.h"

namespace vramwise::emulator {
namespace {

struct ErrorName {
  int code;
  const char* runtime;
  const char* driver;
  const char* text;
};

constexpr ErrorName kErrors[] = {
    {0, "cudaSuccess", "CUDA_SUCCESS", "no error"},
    {1, "cudaErrorInvalidValue", "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "cudaErrorInitializationError", "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {98, "cudaErrorInvalidDeviceFunction", "CUDA_ERROR_INVALID_VALUE", "invalid device function"},
    {100, "cudaErrorNoDevice", "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "cudaErrorInvalidDevice", "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "cudaErrorDeviceUninitialized", "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "cudaErrorNoKernelImageForDevice", "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {400, "cudaErrorInvalidResourceHandle", "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "cudaErrorSymbolNotFound", "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "cudaErrorNotReady", "CUDA_ERROR_NOT_READY", "device not ready"},
    {704, "cudaErrorPeerAccessAlreadyEnabled", "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED",
     "peer access is already enabled"},
    {712, "cudaErrorHostMemoryAlreadyRegistered", "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {713, "cudaErrorHostMemoryNotRegistered", "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {800, "cudaErrorNotPermitted", "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {801, "cudaErrorNotSupported", "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {900, "cudaErrorStreamCaptureUnsupported", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {901, "cudaErrorStreamCaptureInvalidated", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {903, "cudaErrorStreamCaptureUnmatched", "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "the capture was not initiated in this stream"},
};

const ErrorName* find_error(int code) {
  for (const auto& error : kErrors) {
    if (error.code == code) return &error;
  }
  return nullptr;
}

}  // namespace
}  // namespace vramwise::emulator

using namespace vramwise::emulator;

VRAMWISE_ENTRY const char* cudaGetErrorString(int code) {
  const ErrorName* error = find_error(code);
  return error == nullptr ? "unrecognized error code" : error->text;
}

VRAMWISE_ENTRY const char* cudaGetErrorName(int code) {
  const ErrorName* error = find_error(code);
  return error == nullptr ? "unrecognized error code" : error->runtime;
}

VRAMWISE_ENTRY int cudaGetLastError() {
  const int code = thread_state().last_error;
  thread_state().last_error = kSuccess;
  return code;
}

VRAMWISE_ENTRY int cudaPeekAtLastError() { return thread_state().last_error; }

VRAMWISE_ENTRY int cuGetErrorString(int code, const char** text) {
  const ErrorName* error = find_error(code);
  *text = error == nullptr ? nullptr : error->text;
  return error == nullptr ? kInvalidValue : kSuccess;
}

VRAMWISE_ENTRY int cuGetErrorName(int code, const char** name) {
  const ErrorName* error = find_error(code);
  *name = error == nullptr ? nullptr : error->driver;
  return error == nullptr ? kInvalidValue : kSuccess;
}
