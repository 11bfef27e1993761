// cuSOLVER: arithmetic is skipped. Scratch sizes are not published: the program gets none, and the ledger is
// incomplete.
#include <cstddef>
#include <cstdint>

#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr int kNotSupportedBySolver = 9;  // CUSOLVER_STATUS_NOT_SUPPORTED

struct SolverObject {
  std::uint64_t unused = 0;
};

}  // namespace

#define VRAMWISE_OBJECT(create, destroy)             \
  VRAMWISE_ENTRY int create(SolverObject** object) { \
    *object = new SolverObject;                      \
    return 0;                                        \
  }                                                  \
  VRAMWISE_ENTRY int destroy(SolverObject* object) { \
    delete object;                                   \
    return 0;                                        \
  }
VRAMWISE_OBJECT(cusolverDnCreate, cusolverDnDestroy)
VRAMWISE_OBJECT(cusolverDnCreateGesvdjInfo, cusolverDnDestroyGesvdjInfo)
VRAMWISE_OBJECT(cusolverDnCreateParams, cusolverDnDestroyParams)
#undef VRAMWISE_OBJECT

VRAMWISE_IGNORED(cusolverDnSetStream)
VRAMWISE_IGNORED(cusolverDnXgesvdjSetMaxSweeps)
VRAMWISE_IGNORED(cusolverDnXgesvdjSetSortEig)
VRAMWISE_IGNORED(cusolverDnXgesvdjSetTolerance)

#define VRAMWISE_LISTED(name) VRAMWISE_COMPUTED(name)
#include "emulator/other/cusolver_computed.def"
#undef VRAMWISE_LISTED
#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, kNotSupportedBySolver)
#include "emulator/other/cusolver_rest.def"
#undef VRAMWISE_LISTED
#include "emulator/other/cusolver_sizes.def"
