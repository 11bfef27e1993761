// By default glibc raises the threshold for mappings to 32 MiB as a process goes on, and a step's tensors below that
// leave gaps in the heap. Rejected: keeping all in the heap for good (M_MMAP_MAX 0), which grew up to 11 % above the
// live bytes (`accuracy_cpu`): a plan near the budget would not have held. What mapping costs in page faults, some 9 %
// of a step, tensors are spared by block_store.h; this here is for what the libraries take.
#include "train/malloc_settings.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace vramwise {

void map_large_blocks() {
#if defined(__GLIBC__)
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_MMAP_MAX, 1 << 30);
#endif
}

}  // namespace vramwise
