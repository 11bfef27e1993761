// How malloc treats a trainer's memory.
#pragma once

namespace vramwise {

/// Keeps what is freed for the next step: nothing goes back to the system, no block is a mapping of its own. A step
/// takes and frees the same large tensors every time; by default glibc maps and unmaps part of them (the kernel then
/// clears their pages each time: 7 % of a step), and leaves gaps where the rest was. What is resident then stays near
/// the peak of what lived. Call it first thing in main. No effect where the C library isn't glibc.
void use_steady_malloc();

}  // namespace vramwise
