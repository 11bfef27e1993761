// cuBLAS. A handle keeps what can be asked back; the routines are skipped. PyTorch gives every handle a workspace of
// its own (cublasSetWorkspace), which its allocator takes; a handle without one would have taken it from the card, and
// that is noted.
#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr const char* kLibraries[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", nullptr};

struct BlasHandle {
  int math_mode = 0;
  int pointer_mode = 0;
  int atomics_mode = 0;
  void* stream = nullptr;
};

}  // namespace

VRAMWISE_ENTRY int cublasCreate_v2(BlasHandle** handle) {
  assume("cuBLAS takes no device memory of its own beside the workspaces that the program gives it");
  const int code = driver_on_device([](Machine&, int) { return kSuccess; });  // the context must be there
  *handle = new BlasHandle;
  return code == kSuccess ? 0 : 3;  // CUBLAS_STATUS_ALLOC_FAILED
}
VRAMWISE_ENTRY int cublasDestroy_v2(BlasHandle* handle) {
  delete handle;
  return 0;
}
VRAMWISE_ENTRY int cublasSetStream_v2(BlasHandle* handle, void* stream) {
  handle->stream = stream;
  thread_state().stream_of_library = stream;
  return 0;
}
VRAMWISE_ENTRY int cublasGetStream_v2(BlasHandle* handle, void** stream) {
  *stream = handle->stream;
  return 0;
}
VRAMWISE_ENTRY int cublasSetMathMode(BlasHandle* handle, int mode) {
  handle->math_mode = mode;
  return 0;
}
VRAMWISE_ENTRY int cublasGetMathMode(BlasHandle* handle, int* mode) {
  *mode = handle->math_mode;
  return 0;
}
VRAMWISE_ENTRY int cublasSetPointerMode_v2(BlasHandle* handle, int mode) {
  handle->pointer_mode = mode;
  return 0;
}
VRAMWISE_ENTRY int cublasGetPointerMode_v2(BlasHandle* handle, int* mode) {
  *mode = handle->pointer_mode;
  return 0;
}
VRAMWISE_ENTRY int cublasSetAtomicsMode(BlasHandle* handle, int mode) {
  handle->atomics_mode = mode;
  return 0;
}
VRAMWISE_ENTRY int cublasGetAtomicsMode(BlasHandle* handle, int* mode) {
  *mode = handle->atomics_mode;
  return 0;
}
VRAMWISE_ENTRY int cublasSetWorkspace_v2(BlasHandle*, void*, std::size_t) { return 0; }
VRAMWISE_ENTRY int cublasSetSmCountTarget(BlasHandle*, int) { return 0; }
VRAMWISE_ENTRY int cublasGetSmCountTarget(BlasHandle*, int* target) {
  *target = 0;
  return 0;
}
VRAMWISE_ENTRY int cublasGetVersion_v2(void* handle, int* version) {
  using Function = int (*)(void*, int*);
  // Without a device the real library answers for a null handle as for any other.
  const auto real = reinterpret_cast<Function>(real_symbol(kLibraries, "cublasGetVersion_v2"));
  (void)handle;
  *version = 130100;
  return real != nullptr ? real(nullptr, version), 0 : 0;
}

#define VRAMWISE_LISTED(name) VRAMWISE_COMPUTED(name)
#include "emulator/blas/cublas_computed.def"
#undef VRAMWISE_LISTED
#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, 15)  // CUBLAS_STATUS_NOT_SUPPORTED
#include "emulator/blas/cublas_rest.def"
#include "emulator/blas/cublaslt_rest.def"
#undef VRAMWISE_LISTED
