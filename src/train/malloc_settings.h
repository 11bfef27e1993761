// How malloc treats a trainer's memory.
#pragma once

namespace vramwise {

/// Every block of 1 MiB or more becomes a mapping of its own, and goes back to the system when it is freed. What is
/// resident is then what lives, which is what the plan predicts and what the budget bounds. Call it first thing in
/// main. No effect where the C library isn't glibc.
void map_large_blocks();

}  // namespace vramwise
