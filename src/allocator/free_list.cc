// Sorted arrays behind a two-level bitmap. The last bin also takes all sizes above its own (32 TiB).
#include "allocator/free_list.h"

#include <algorithm>

#include "base/check.h"

namespace vramwise {

std::uint32_t FreeList::position_of(const std::vector<Entry>& bin, std::int64_t size, std::int64_t order) const {
  // Most bins hold a handful; walking them from the front beats halving.
  std::uint32_t position = 0;
  auto count = static_cast<std::uint32_t>(bin.size());
  while (count > 8) {
    const std::uint32_t half = count / 2;
    if (before(bin[position + half], size, order)) {
      position += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  const std::uint32_t end = position + count;
  while (position < end && before(bin[position], size, order)) ++position;
  return position;
}

void FreeList::insert(const Entry& entry) {
  const std::uint32_t index = bin_of(entry.size);
  std::vector<Entry>& bin = bins_[index];
  bin.insert(bin.begin() + position_of(bin, entry.size, entry.order), entry);
  bitmap_[index / 64] |= std::uint64_t{1} << (index % 64);
  words_ |= std::uint64_t{1} << (index / 64);
}

void FreeList::mark_empty(std::uint32_t bin) {
  bitmap_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
  if (bitmap_[bin / 64] == 0) words_ &= ~(std::uint64_t{1} << (bin / 64));
}

void FreeList::erase(std::int64_t size, std::int64_t order) {
  const std::uint32_t index = bin_of(size);
  erase({.bin = index, .position = position_of(bins_[index], size, order)});
}

void FreeList::erase(Cursor cursor) {
  std::vector<Entry>& bin = bins_[cursor.bin];
  VRAMWISE_CHECK(cursor.position < bin.size());
  bin.erase(bin.begin() + cursor.position);
  if (bin.empty()) mark_empty(cursor.bin);
}

std::uint32_t FreeList::next_bin(std::uint32_t bin) const {
  if (bin >= kBins) return kNone;
  const std::uint32_t word = bin / 64;
  if (const std::uint64_t rest = bitmap_[word] >> (bin % 64); rest != 0)
    return bin + static_cast<std::uint32_t>(std::countr_zero(rest));
  const std::uint64_t later = word == 63 ? 0 : words_ >> (word + 1);
  if (later == 0) return kNone;
  const std::uint32_t found = word + 1 + static_cast<std::uint32_t>(std::countr_zero(later));
  return found * 64 + static_cast<std::uint32_t>(std::countr_zero(bitmap_[found]));
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
  return {.bin = bin, .position = static_cast<std::uint32_t>(bins_[bin].size()) - 1};
}

FreeList::Cursor FreeList::lower_bound(std::int64_t size) const {
  const std::uint32_t index = bin_of(size);
  const std::vector<Entry>& bin = bins_[index];
  if (!bin.empty()) {
    const std::uint32_t position = position_of(bin, size, 0);
    if (position < bin.size()) return {.bin = index, .position = position};
  }
  return first_of_bin(next_bin(index + 1));
}

FreeList::Cursor FreeList::next(Cursor cursor) const {
  if (++cursor.position < bins_[cursor.bin].size()) return cursor;
  return first_of_bin(next_bin(cursor.bin + 1));
}

FreeList::Cursor FreeList::previous(Cursor cursor) const {
  if (cursor.position > 0) return {.bin = cursor.bin, .position = cursor.position - 1};
  return last_of_bin(previous_bin(cursor.bin));
}

}  // namespace vramwise
