// See heap.h.
#include "base/heap.h"

#include <cstdlib>  // says whose C library it is

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace vramwise {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int kMostKept = 512 << 20;    // bytes
  constexpr int kLargestKept = 32 << 20;  // of one allocation; the most that glibc takes here
  mallopt(M_TRIM_THRESHOLD, kMostKept);
  mallopt(M_MMAP_THRESHOLD, kLargestKept);
#endif
}

}  // namespace vramwise
