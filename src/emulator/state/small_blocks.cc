// First fit by address, over chunks in the order of their addresses: simple, and the same in every run.
#include "emulator/state/small_blocks.h"

#include "emulator/state/device_ledger.h"

namespace vramwise::emulator {

void SmallBlocks::add_chunk(std::uintptr_t base) { chunks_[base]; }

std::optional<std::uintptr_t> SmallBlocks::allocate(Bytes size) {
  const std::int64_t need = (size == Bytes(0) ? Bytes(1) : size).rounded_up(kSmallBlockAlignment).count();
  for (auto& [base, chunk] : chunks_) {
    std::int64_t end = 0;
    for (const auto& [offset, used] : chunk.used) {
      if (offset - end >= need) break;
      end = offset + used;
    }
    if (kGranule.count() - end < need) continue;
    chunk.used[end] = need;
    return base + static_cast<std::uintptr_t>(end);
  }
  return std::nullopt;
}

SmallBlocks::Freed SmallBlocks::free(std::uintptr_t address) {
  auto after = chunks_.upper_bound(address);
  if (after == chunks_.begin()) return {};
  const auto chunk = std::prev(after);
  if (chunk->second.used.erase(static_cast<std::int64_t>(address - chunk->first)) == 0) return {};
  if (!chunk->second.used.empty()) return {.known = true, .emptied_chunk = std::nullopt};
  const std::uintptr_t base = chunk->first;
  chunks_.erase(chunk);
  return {.known = true, .emptied_chunk = base};
}

}  // namespace vramwise::emulator
