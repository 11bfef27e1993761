// cuSPARSE: descriptors are made and thrown away, arithmetic is skipped. Sizes of scratch are not published: the
// program gets none, and the ledger is incomplete. Sizes of results are refused.
#include <cstddef>
#include <cstdint>

#include "emulator/listed.h"

using namespace vramwise::emulator;

namespace {

constexpr int kNotSupportedBySparse = 10;  // CUSPARSE_STATUS_NOT_SUPPORTED

struct SparseObject {
  std::uint64_t unused = 0;
};

int make(SparseObject** object) {
  *object = new SparseObject;
  return 0;
}
int unmake(SparseObject* object) {
  delete object;
  return 0;
}

}  // namespace

VRAMWISE_ENTRY const char* cusparseGetErrorString(int status) {
  return status == 0 ? "success" : "operation not supported";
}

#define VRAMWISE_OBJECT(create, destroy)                                    \
  VRAMWISE_ENTRY int create(SparseObject** object) { return make(object); } \
  VRAMWISE_ENTRY int destroy(SparseObject* object) { return unmake(object); }
VRAMWISE_OBJECT(cusparseCreate, cusparseDestroy)
VRAMWISE_OBJECT(cusparseCreateMatDescr, cusparseDestroyMatDescr)
VRAMWISE_OBJECT(cusparseCreateBsrsm2Info, cusparseDestroyBsrsm2Info)
VRAMWISE_OBJECT(cusparseCreateBsrsv2Info, cusparseDestroyBsrsv2Info)
VRAMWISE_OBJECT(cusparseCreateDnMat, cusparseDestroyDnMat)
VRAMWISE_OBJECT(cusparseCreateDnVec, cusparseDestroyDnVec)
VRAMWISE_OBJECT(cusparseCreateCsr, cusparseDestroySpMat)
VRAMWISE_OBJECT(cusparseSpGEMM_createDescr, cusparseSpGEMM_destroyDescr)
VRAMWISE_OBJECT(cusparseSpSM_createDescr, cusparseSpSM_destroyDescr)
VRAMWISE_OBJECT(cusparseSpSV_createDescr, cusparseSpSV_destroyDescr)
#undef VRAMWISE_OBJECT
VRAMWISE_ENTRY int cusparseCreateCoo(SparseObject** object) { return make(object); }

VRAMWISE_IGNORED(cusparseSetStream)
VRAMWISE_IGNORED(cusparseSetPointerMode)
VRAMWISE_IGNORED(cusparseSetMatDiagType)
VRAMWISE_IGNORED(cusparseSetMatFillMode)
VRAMWISE_IGNORED(cusparseSetMatIndexBase)
VRAMWISE_IGNORED(cusparseSetMatType)
VRAMWISE_IGNORED(cusparseCsrSetPointers)
VRAMWISE_IGNORED(cusparseCsrSetStridedBatch)
VRAMWISE_IGNORED(cusparseDnMatSetStridedBatch)
VRAMWISE_IGNORED(cusparseSpMatSetAttribute)

#define VRAMWISE_LISTED(name) VRAMWISE_COMPUTED(name)
#include "emulator/other/cusparse_computed.def"
#undef VRAMWISE_LISTED
#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, kNotSupportedBySparse)
#include "emulator/other/cusparse_refused.def"
#include "emulator/other/cusparse_rest.def"
#include "emulator/other/cusparselt_refused.def"
#include "emulator/other/cusparselt_rest.def"
#undef VRAMWISE_LISTED
#include "emulator/other/cusparse_sizes.def"
