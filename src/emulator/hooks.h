// What the emulator offers to a helper inside the program (src/values) beside NVIDIA's interfaces. The library is
// preloaded, so these are found by dlsym(RTLD_DEFAULT, name); without the emulator they are absent. Plain C: nothing of
// ours is included.
//
// What skipped work leaves in device memory reads as the *fill*: a byte that VRAMWISE_FILL (0 to 255), or `fill` in
// VRAMWISE_GPUS, chooses; 0 if neither does. The environment goes before the description.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The calling thread's next copy from device to host of exactly `bytes` bytes yields these bytes, which are copied
/// now. They stand beside the card: device memory is not changed. One value waits at a time; a null `value` or 0 bytes
/// drops the one that waits.
void vramwise_emulator_next_read(const void* value, size_t bytes);

/// Makes [address, address + bytes) of device memory ordinary memory, so that code on the host may read and write it in
/// place until it is freed or overwritten: what was known of it stands there, the rest holds the fill. 0: done; 1: no
/// such device memory, or twice the budget of host memory
/// (`resident_budget_bytes`, once for copies) is used up, and nothing was changed.
int vramwise_emulator_host_access(void* address, size_t bytes);

/// Forgets what the range holds: it reads as the fill again, and the host gets whole pages back.
void vramwise_emulator_forget(void* address, size_t bytes);

/// How much of the range is known: 0 nothing (it reads as the fill), 1 some of it, 2 all: copied in, set, or given to
/// the host. Counted in pieces of 64 KiB: a piece that is known in part counts as known.
int vramwise_emulator_known(const void* address, size_t bytes);

/// The byte that unknown device memory reads as.
unsigned vramwise_emulator_fill(void);

/// What this process holds of a card, by its number as the process sees it, the context included; -1: no such card.
long long vramwise_emulator_held(int device);

/// Writes this process's ledger now; for programs that end without exit handlers.
void vramwise_emulator_write_ledger(void);

#ifdef __cplusplus
}
#endif
