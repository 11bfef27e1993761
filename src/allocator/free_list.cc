// Sorted arrays behind a two-level bitmap. The last bin also takes all sizes above its own (32 TiB).
#include "allocator/free_list.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace vramwise {

void FreeList::Bin::grow() {
  if (2 * count < capacity) {  // there is room, all at the other end
    const std::uint32_t middle = (capacity - count) / 2;
    std::memmove(room.get() + middle, begin(), count * sizeof(Entry));
    first = middle;
    return;
  }
  const std::uint32_t wanted = std::max(6U, 3 * count);
  auto larger = std::make_unique_for_overwrite<Entry[]>(wanted);
  const std::uint32_t in_front = (wanted - count) / 2;
  std::copy_n(begin(), count, larger.get() + in_front);
  room = std::move(larger);
  first = in_front;
  capacity = wanted;
}

std::uint32_t FreeList::previous_bin(std::uint32_t bin) const {
  while (bin-- > 0) {
    if (const std::uint64_t rest = bitmap_[bin / 64] << (63 - bin % 64); rest != 0)
      return bin - static_cast<std::uint32_t>(std::countl_zero(rest));
    bin -= bin % 64;
  }
  return kNone;
}

FreeList::Cursor FreeList::last_of_bin(std::uint32_t bin) const {
  if (bin == kNone) return {};
  return {.bin = bin, .position = bins_[bin].count - 1};
}

FreeList::Cursor FreeList::next(Cursor cursor) const {
  if (++cursor.position < bins_[cursor.bin].count) return cursor;
  return first_of_bin(next_bin(cursor.bin + 1));
}

FreeList::Cursor FreeList::previous(Cursor cursor) const {
  if (cursor.position > 0) return {.bin = cursor.bin, .position = cursor.position - 1};
  return last_of_bin(previous_bin(cursor.bin));
}

}  // namespace vramwise
