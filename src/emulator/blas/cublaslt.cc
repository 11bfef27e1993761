// cuBLASLt. Descriptors are blocks of the caller's or of ours; heuristics offer one algorithm that needs no workspace.
// PyTorch gives the product its own workspace of a fixed size whatever the algorithm asks for, so the answer decides no
// allocation there.
#include <cstdint>
#include <cstring>

#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr const char* kLibraries[] = {"libcublasLt.so.13", "libcublasLt.so.12", nullptr};

struct Algorithm {
  std::uint64_t data[8];
};

struct HeuristicResult {
  Algorithm algorithm;
  std::size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

// Larger than any of the library's semi-opaque descriptors.
struct Descriptor {
  std::uint64_t data[64];
};

int create(Descriptor** descriptor) {
  *descriptor = new Descriptor{};
  return 0;
}
int destroy(Descriptor* descriptor) {
  delete descriptor;
  return 0;
}
int initialize(void* descriptor, std::size_t size) {
  std::memset(descriptor, 0, size);
  return 0;
}

}  // namespace

VRAMWISE_ENTRY int cublasLtCreate(Descriptor** handle) { return create(handle); }
VRAMWISE_ENTRY int cublasLtDestroy(Descriptor* handle) { return destroy(handle); }
VRAMWISE_ENTRY std::size_t cublasLtGetVersion() {
  const auto real = reinterpret_cast<std::size_t (*)()>(real_symbol(kLibraries, "cublasLtGetVersion"));
  return real != nullptr ? real() : 130100;
}

VRAMWISE_ENTRY int cublasLtMatmulDescCreate(Descriptor** descriptor, int, int) { return create(descriptor); }
VRAMWISE_ENTRY int cublasLtMatmulDescInit_internal(void* descriptor, std::size_t size, int, int) {
  return initialize(descriptor, size);
}
VRAMWISE_ENTRY int cublasLtMatmulDescDestroy(Descriptor* descriptor) { return destroy(descriptor); }
VRAMWISE_ENTRY int cublasLtMatrixLayoutCreate(Descriptor** layout, int, std::uint64_t, std::uint64_t, std::int64_t) {
  return create(layout);
}
VRAMWISE_ENTRY int cublasLtMatrixLayoutInit_internal(void* layout, std::size_t size, int, std::uint64_t, std::uint64_t,
                                                     std::int64_t) {
  return initialize(layout, size);
}
VRAMWISE_ENTRY int cublasLtMatrixLayoutDestroy(Descriptor* layout) { return destroy(layout); }
VRAMWISE_ENTRY int cublasLtMatmulPreferenceCreate(Descriptor** preference) { return create(preference); }
VRAMWISE_ENTRY int cublasLtMatmulPreferenceInit_internal(void* preference, std::size_t size) {
  return initialize(preference, size);
}
VRAMWISE_ENTRY int cublasLtMatmulPreferenceDestroy(Descriptor* preference) { return destroy(preference); }
VRAMWISE_ENTRY int cublasLtMatrixTransformDescCreate(Descriptor** descriptor, int) { return create(descriptor); }
VRAMWISE_ENTRY int cublasLtMatrixTransformDescDestroy(Descriptor* descriptor) { return destroy(descriptor); }

VRAMWISE_IGNORED(cublasLtMatmulDescSetAttribute)
VRAMWISE_IGNORED(cublasLtMatrixLayoutSetAttribute)
VRAMWISE_IGNORED(cublasLtMatmulPreferenceSetAttribute)
VRAMWISE_IGNORED(cublasLtMatrixTransformDescSetAttribute)
VRAMWISE_IGNORED(cublasLtMatmulAlgoInit)
VRAMWISE_IGNORED(cublasLtMatmulAlgoConfigSetAttribute)

VRAMWISE_ENTRY int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int wanted,
                                                  HeuristicResult* results, int* found) {
  *found = wanted > 0 ? 1 : 0;
  if (wanted > 0) {
    results[0] = HeuristicResult{};
    results[0].waves = 1.0F;
  }
  return 0;
}

VRAMWISE_ENTRY int cublasLtMatmulAlgoCheck(void*, void*, void*, void*, void*, void*, const Algorithm* algorithm,
                                           HeuristicResult* result) {
  *result = HeuristicResult{};
  if (algorithm != nullptr) result->algorithm = *algorithm;
  result->waves = 1.0F;
  return 0;
}

VRAMWISE_ENTRY int cublasLtMatmulAlgoConfigGetAttribute(const Algorithm*, int, void* value, std::size_t size,
                                                        std::size_t* written) {
  if (value != nullptr) std::memset(value, 0, size);
  if (written != nullptr) *written = size;
  return 0;
}

VRAMWISE_COMPUTED(cublasLtMatmul)
VRAMWISE_COMPUTED(cublasLtMatrixTransform)
