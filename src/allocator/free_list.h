// FreeList: the free blocks of one pool and one stream, in PyTorch's order: by size, then by Block::order.
//
// PyTorch keeps a std::set; here the order is cut into bins (exact sizes at first, then 32 to each power of two), each
// a short sorted array, with a bitmap of the bins that hold something. So the best fit is a look at one bin and at most
// two words of the bitmap, and nothing is allocated once the bins have grown.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

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

  void insert(const Entry& entry);
  /// The entry of that size and order; it must be here.
  void erase(std::int64_t size, std::int64_t order);
  void erase(Cursor cursor);

  bool empty() const { return words_ == 0; }
  const Entry& at(Cursor cursor) const { return bins_[cursor.bin][cursor.position]; }
  Cursor first() const { return first_of_bin(next_bin(0)); }
  Cursor last() const { return last_of_bin(previous_bin(kBins)); }
  /// The first entry of at least `size` bytes.
  Cursor lower_bound(std::int64_t size) const;
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
    return a.size != size ? a.size < size : a.order < order;
  }
  std::uint32_t position_of(const std::vector<Entry>& bin, std::int64_t size, std::int64_t order) const;
  /// The first bin from `bin` on, or the last before it, that holds something; kNone.
  std::uint32_t next_bin(std::uint32_t bin) const;
  std::uint32_t previous_bin(std::uint32_t bin) const;
  static Cursor first_of_bin(std::uint32_t bin) { return {.bin = bin, .position = 0}; }
  Cursor last_of_bin(std::uint32_t bin) const;
  void mark_empty(std::uint32_t bin);

  std::array<std::vector<Entry>, kBins> bins_;
  std::array<std::uint64_t, kBins / 64> bitmap_{};
  std::uint64_t words_ = 0;  ///< which words of the bitmap are not 0
};

}  // namespace vramwise
