// The heap of a process that makes and drops the same lists again and again.
#pragma once

namespace vramwise {

/// Memory that was freed stays with the process (glibc; elsewhere nothing changes). Otherwise each estimate of a search
/// fetches its pages from the system anew. For programs, at the start of main.
void keep_freed_memory();

}  // namespace vramwise
