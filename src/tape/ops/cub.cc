// CUB asks for temporary storage by the number of tiles into which it cuts its input; the tile's size is tuned for each
// architecture (cub/device/dispatch/tuning/*.cuh). Each part of the storage is aligned to 256 bytes and the whole asks
// for 255 more, to align its beginning (cub/util_temporary_storage.cuh, alias_temporaries).

#include "tape/ops/cub.h"

#include <bit>

namespace vramwise::tape::cub {
namespace {

constexpr std::int64_t kAlign = 256;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t aligned(std::int64_t bytes) { return divide_up(bytes, kAlign) * kAlign; }

// A state for each tile and 32 before the first, and one part that is empty but takes its alignment.
std::int64_t tile_states(std::int64_t tiles, std::int64_t state_bytes) {
  return aligned((tiles + 32) * state_bytes) + kAlign + kAlign - 1;
}

}  // namespace

int bits_for(std::uint64_t largest) { return largest == 0 ? 1 : static_cast<int>(std::bit_width(largest)); }

std::int64_t sort_pairs_bytes(const Hardware& card, std::int64_t count, int bits) {
  constexpr std::int64_t kSingleTile = 2304;
  if (count <= kSingleTile) return 1;
  const std::int64_t tile = card.capability >= 90 ? 4608 : (card.capability >= 80 ? 3840 : 2816);
  const std::int64_t passes = divide_up(bits, 8);
  const std::int64_t digits = 256;
  std::int64_t bytes = aligned(passes * digits * 8) + aligned(divide_up(count, tile) * digits * 4);
  if (passes > 1) bytes += 2 * aligned(count * 8);  // keys and values of every other pass
  return bytes + aligned(passes * 4) + kAlign - 1;
}

std::int64_t unique_by_key_bytes(const Hardware& card, std::int64_t count) {
  const std::int64_t tile = card.capability >= 90 ? 4928 : (card.capability == 80 ? 1344 : 320);
  return tile_states(divide_up(count, tile), 16);
}

std::int64_t reduce_bytes(const Hardware& card, std::int64_t count) {
  constexpr std::int64_t kThreads = 256;
  constexpr std::int64_t kSingleTile = kThreads * 16;
  constexpr std::int64_t kBlocksForEachPlace = 5;
  if (count <= kSingleTile) return 1;
  const std::int64_t blocks = kBlocksForEachPlace * card.sm_count * (card.max_threads_per_sm / kThreads);
  return aligned(blocks * 4) + kAlign - 1;
}

std::int64_t select_flagged_bytes(const Hardware& card, std::int64_t count) {
  const std::int64_t tile = card.capability >= 100  ? 3520
                            : card.capability >= 90 ? 4224
                            : card.capability == 80 ? 2304
                                                    : 640;
  return tile_states(divide_up(count, tile), 8);
}

std::int64_t scan_bytes(std::int64_t count, std::int64_t element_bytes) {
  if (element_bytes == 8) return tile_states(divide_up(count, 896), 16);
  if (element_bytes == 4) return tile_states(divide_up(count, 1920), 8);
  // Elements of 2 bytes are no primitive type for CUB: flags and two values a tile lie apart.
  const std::int64_t tiles = divide_up(count, 3840) + 32;
  return aligned(tiles * 4) + 2 * aligned(tiles * element_bytes) + kAlign + kAlign - 1;
}

}  // namespace vramwise::tape::cub
