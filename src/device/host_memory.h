// Host memory as a budget: what the kernel has, and what the control groups of this process allow.
#pragma once

#include "device/machine.h"
#include "device/system.h"

namespace vramwise {

/// Reads /proc/meminfo, the memory limits of this process's control groups (v1 and v2), and the size of /dev/shm. What
/// can't be read is absent.
HostMemory probe_host_memory(System& system);

}  // namespace vramwise
