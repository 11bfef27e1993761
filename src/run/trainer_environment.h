// What a process that trains finds in its environment.
#pragma once

namespace vramwise {

/// The variable GLIBC_TUNABLES, and what belongs into it for a trainer: malloc asks for huge pages. They are faster to
/// take and to address; glibc reads this only at the start of a process. (src/train/malloc_settings.h has the rest.)
inline constexpr const char* kMallocVariable = "GLIBC_TUNABLES";
inline constexpr const char* kMallocHugePages = "glibc.malloc.hugetlb=1";

}  // namespace vramwise
