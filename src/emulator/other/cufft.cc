// cuFFT: plans are made and skipped. The sizes of their work areas are not published: the program gets none, and the
// ledger is incomplete.
#include <cstddef>

#include "emulator/listed.h"

namespace {

constexpr int kNotSupportedByFft = 16;  // CUFFT_NOT_SUPPORTED

}  // namespace

VRAMWISE_ENTRY int cufftCreate(int* plan) {
  *plan = 1;
  return 0;
}
VRAMWISE_IGNORED(cufftDestroy)
VRAMWISE_IGNORED(cufftSetAutoAllocation)
VRAMWISE_IGNORED(cufftSetStream)
VRAMWISE_IGNORED(cufftSetWorkArea)
VRAMWISE_UNSIZED(cufftXtMakePlanMany, std::size_t, 12)
VRAMWISE_COMPUTED(cufftXtExec)
#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, kNotSupportedByFft)
#include "emulator/other/cufft_rest.def"
#undef VRAMWISE_LISTED
