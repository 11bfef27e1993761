// FreeList: the free blocks of one pool and one stream, in PyTorch's order: by size, then by Block::order.
//
// PyTorch keeps a std::set; here the order is cut into bins (exact sizes at first, then 32 to each power of two), each
// a short sorted array, with a bitmap of the bins that hold something. So the best fit is a look at one bin and at most
// two words of the bitmap, and nothing is allocated once the bins have grown.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>

#include "base/check.h"

namespace vramwise {

using BlockIndex = std::uint32_t;
inline constexpr BlockIndex kNoBlock = ~BlockIndex{0};

class FreeList {
 public:
  struct Entry {
    std::int64_t size = 0;  ///< bytes, a multiple of 512
    std::int64_t order = 0;
    BlockIndex block = kNoBlock;
  };
  /// A place in the order; valid until the list changes.
  struct Cursor {
    std::uint32_t bin = kBins;
    std::uint32_t position = 0;
    bool valid() const { return bin != kBins; }
  };

  void insert(const Entry& entry) {
    const std::uint32_t index = bin_of(entry.size);
    Bin& bin = bins_[index];
    bin.open(position_of(bin, entry.size, entry.order)) = entry;
    if (bin.count == 1) mark_used(index);
  }
  /// Takes out the first entry of exactly that size; kNoBlock: it is not the first of its bin, or there is none.
  BlockIndex take_exact(std::int64_t size) {
    const std::uint32_t index = bin_of(size);
    Bin& bin = bins_[index];
    if (bin.count == 0 || bin.begin()->size != size) return kNoBlock;
    const BlockIndex block = bin.begin()->block;
    ++bin.first;
    if (--bin.count == 0) mark_empty(index);
    return block;
  }
  /// The entry of that size and order; it must be here.
  Cursor find(std::int64_t size, std::int64_t order) const {
    const std::uint32_t index = bin_of(size);
    return {.bin = index, .position = position_of(bins_[index], size, order)};
  }
  void erase(std::int64_t size, std::int64_t order) { erase(find(size, order)); }
  void erase(Cursor cursor) {
    Bin& bin = bins_[cursor.bin];
    VRAMWISE_CHECK(cursor.position < bin.count);
    bin.close(cursor.position);
    if (bin.count == 0) mark_empty(cursor.bin);
  }
  /// erase(cursor), insert(entry): a block that grows or shrinks mostly stays where it is.
  void replace(Cursor cursor, const Entry& entry) {
    Bin& bin = bins_[cursor.bin];
    VRAMWISE_CHECK(cursor.position < bin.count);
    Entry* const place = bin.begin() + cursor.position;
    const bool stays = bin_of(entry.size) == cursor.bin &&
                       (cursor.position == 0 || before(place[-1], entry.size, entry.order)) &&
                       (cursor.position + 1 == bin.count || !before(place[1], entry.size, entry.order));
    if (stays) {
      *place = entry;
      return;
    }
    erase(cursor);
    insert(entry);
  }

  bool empty() const { return words_ == 0; }
  const Entry& at(Cursor cursor) const { return bins_[cursor.bin].begin()[cursor.position]; }
  Cursor first() const { return first_of_bin(next_bin(0)); }
  Cursor last() const { return last_of_bin(previous_bin(kBins)); }
  /// The first entry of at least `size` bytes.
  Cursor lower_bound(std::int64_t size) const {
    const std::uint32_t index = bin_of(size);
    const Bin& bin = bins_[index];
    if (bin.count > 0) {
      if (bin.begin()->size >= size) return {.bin = index, .position = 0};
      if (bin.begin()[bin.count - 1].size >= size) return {.bin = index, .position = position_of(bin, size, 0)};
    }
    return first_of_bin(next_bin(index + 1));
  }
  Cursor next(Cursor cursor) const;
  Cursor previous(Cursor cursor) const;

 private:
  static constexpr std::uint32_t kBins = 1024;
  static constexpr std::uint32_t kNone = kBins;

  static std::uint32_t bin_of(std::int64_t size) {
    const auto units = static_cast<std::uint64_t>(size) >> 9;
    if (units < 64) return static_cast<std::uint32_t>(units);
    const auto exponent = static_cast<std::uint32_t>(std::bit_width(units)) - 1;
    const std::uint32_t bin = 64 + (exponent - 6) * 32 + (static_cast<std::uint32_t>(units >> (exponent - 5)) & 31U);
    return bin < kBins ? bin : kBins - 1;
  }
  static bool before(const Entry& a, std::int64_t size, std::int64_t order) {
    return (a.size < size) | ((a.size == size) & (a.order < order));
  }
  /// With room at both ends: what comes and goes is mostly the first or the last.
  struct Bin {
    std::unique_ptr<Entry[]> room;
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::uint32_t capacity = 0;

    Entry* begin() { return room.get() + first; }
    const Entry* begin() const { return room.get() + first; }
    Entry& open(std::uint32_t position) {
      const bool moves_front = position < count - position;
      if (moves_front ? first == 0 : first + count == capacity) grow();
      Entry* const entries = begin();
      ++count;
      if (!moves_front) {
        std::copy_backward(entries + position, entries + count - 1, entries + count);
        return entries[position];
      }
      std::copy(entries, entries + position, entries - 1);
      --first;
      return begin()[position];
    }
    void close(std::uint32_t position) {
      Entry* const entries = begin();
      --count;
      if (position >= count - position) {
        std::copy(entries + position + 1, entries + count + 1, entries + position);
      } else {
        std::copy_backward(entries, entries + position, entries + position + 1);
        ++first;
      }
    }
    /// Room for one more, at either end.
    void grow();
  };

  // Halving without branches, which here nobody could foresee.
  static std::uint32_t position_of(const Bin& bin, std::int64_t size, std::int64_t order) {
    const Entry* const entries = bin.begin();
    const Entry* at = entries;
    std::uint32_t count = bin.count;
    if (count == 0 || !before(*at, size, order)) return 0;
    if (before(at[count - 1], size, order)) return count;
    while (count > 1) {
      const std::uint32_t half = count / 2;
      at += before(at[half - 1], size, order) ? half : 0;
      count -= half;
    }
    if (count == 1 && before(*at, size, order)) ++at;
    return static_cast<std::uint32_t>(at - entries);
  }
  /// The first bin from `bin` on, or the last before it, that holds something; kNone.
  std::uint32_t next_bin(std::uint32_t bin) const {
    if (bin >= kBins) return kNone;
    const std::uint32_t word = bin / 64;
    if (const std::uint64_t rest = bitmap_[word] >> (bin % 64); rest != 0)
      return bin + static_cast<std::uint32_t>(std::countr_zero(rest));
    const std::uint64_t later = word == 63 ? 0 : words_ >> (word + 1);
    if (later == 0) return kNone;
    const std::uint32_t found = word + 1 + static_cast<std::uint32_t>(std::countr_zero(later));
    return found * 64 + static_cast<std::uint32_t>(std::countr_zero(bitmap_[found]));
  }
  std::uint32_t previous_bin(std::uint32_t bin) const;
  static Cursor first_of_bin(std::uint32_t bin) { return {.bin = bin, .position = 0}; }
  Cursor last_of_bin(std::uint32_t bin) const;
  void mark_used(std::uint32_t bin) {
    bitmap_[bin / 64] |= std::uint64_t{1} << (bin % 64);
    words_ |= std::uint64_t{1} << (bin / 64);
  }
  void mark_empty(std::uint32_t bin) {
    bitmap_[bin / 64] &= ~(std::uint64_t{1} << (bin % 64));
    if (bitmap_[bin / 64] == 0) words_ &= ~(std::uint64_t{1} << (bin / 64));
  }

  std::array<Bin, kBins> bins_;
  std::array<std::uint64_t, kBins / 64> bitmap_{};
  std::uint64_t words_ = 0;  ///< which words of the bitmap are not 0
};

}  // namespace vramwise
