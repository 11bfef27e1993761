// See heap.h.
#include "base/heap.h"

#include <cstdlib>  // says whose C library it is

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace vramwise {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMost = 512 << 20,
                kOwnMapping = 32 << 20;  // bytes; glibc maps nothing larger than the second by itself
  mallopt(M_TRIM_THRESHOLD, kMost);
  mallopt(M_MMAP_THRESHOLD, kOwnMapping);
#endif
}

}  // namespace vramwise
