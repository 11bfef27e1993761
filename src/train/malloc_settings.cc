// glibc returns large blocks to the system at once, and a step would fault the same pages in again: it is told not to.
#include "train/malloc_settings.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace vramwise {

void use_steady_malloc() {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace vramwise
