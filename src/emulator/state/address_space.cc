// Linux keeps anonymous private pages that were never written out of memory, and MAP_NORESERVE out of its books: 80 GB
// of emulated memory cost nothing. Pages that hold nothing any more go back by MADV_DONTNEED.
#include "emulator/state/address_space.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace vramwise::emulator {
namespace {

// Below where Linux places a program, its heap and its libraries (0x55… and 0x7f…), and above any low mapping.
constexpr std::uintptr_t kArenaBase = 0x100000000000;  // 16 TiB
constexpr std::uintptr_t kArenaEnd = 0x500000000000;   // 80 TiB
constexpr std::uintptr_t kPage = 4096;

std::uintptr_t align_up(std::uintptr_t value, std::uintptr_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

void* map_at(std::uintptr_t address, std::size_t size, int extra_flags) {
  return mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | extra_flags, -1, 0);
}

struct ChunkRange {
  std::size_t first = 0;
  std::size_t last = 0;  ///< one past
};

ChunkRange chunks_of(const Region& region, std::uintptr_t address, Bytes size) {
  const auto unit = static_cast<std::uintptr_t>(kResidencyChunk.count());
  const auto offset = address - region.base;
  return {offset / unit, (offset + static_cast<std::uintptr_t>(size.count()) + unit - 1) / unit};
}

}  // namespace

std::uintptr_t AddressSpace::find_gap(Bytes size, Bytes alignment) const {
  const auto unit = static_cast<std::uintptr_t>(alignment.count());
  const auto need = static_cast<std::uintptr_t>(size.count());
  std::uintptr_t candidate = align_up(kArenaBase, unit);
  for (auto it = regions_.lower_bound(kArenaBase); it != regions_.end() && it->first < kArenaEnd; ++it) {
    if (it->first >= candidate && it->first - candidate >= need) break;
    candidate = std::max(candidate, align_up(it->second.end(), unit));
  }
  return candidate + need <= kArenaEnd ? candidate : 0;
}

Region* AddressSpace::reserve(Bytes size, RegionKind kind, int device, Bytes alignment) {
  const Bytes rounded = size.rounded_up(Bytes(static_cast<std::int64_t>(kPage)));
  const auto length = static_cast<std::size_t>(rounded.count());
  const std::uintptr_t gap = find_gap(rounded, alignment);
  void* memory = gap == 0 ? MAP_FAILED : map_at(gap, length, MAP_FIXED_NOREPLACE);
  if (memory == MAP_FAILED) memory = map_at(0, length, 0);  // a sanitizer or another library sits there
  if (memory == MAP_FAILED) return nullptr;
  const auto base = reinterpret_cast<std::uintptr_t>(memory);
  Region& region = regions_[base];
  region = {.base = base, .size = rounded, .kind = kind, .device = device, .id = next_id_++, .written = {}};
  return &region;
}

Region* AddressSpace::add_foreign(std::uintptr_t base, Bytes size, RegionKind kind, int device) {
  Region& region = regions_[base];
  region = {.base = base, .size = size, .kind = kind, .device = device, .id = next_id_++, .written = {}};
  return &region;
}

bool AddressSpace::release(std::uintptr_t base) {
  const auto found = regions_.find(base);
  if (found == regions_.end()) return false;
  Region& region = found->second;
  forget_written(region, 0, region.written.size());
  if (region.kind != RegionKind::kRegistered) {
    munmap(reinterpret_cast<void*>(base), static_cast<std::size_t>(region.size.count()));
  }
  regions_.erase(found);
  return true;
}

Region* AddressSpace::find(std::uintptr_t address) {
  auto after = regions_.upper_bound(address);
  if (after == regions_.begin()) return nullptr;
  Region& region = std::prev(after)->second;
  return address < region.end() ? &region : nullptr;
}

bool AddressSpace::written(const Region& region, std::uintptr_t address, Bytes size) const {
  const auto [first, last] = chunks_of(region, address, size);
  const auto begin = region.written.begin() + static_cast<std::ptrdiff_t>(std::min(first, region.written.size()));
  const auto end = region.written.begin() + static_cast<std::ptrdiff_t>(std::min(last, region.written.size()));
  return std::find(begin, end, true) != end;
}

bool AddressSpace::mark_written(Region& region, std::uintptr_t address, Bytes size, bool always) {
  const auto [first, last] = chunks_of(region, address, size);
  if (region.written.size() < last) region.written.resize(last, false);
  std::int64_t fresh = 0;
  for (std::size_t i = first; i < last; ++i) fresh += region.written[i] ? 0 : 1;
  if (!always && resident_ + kResidencyChunk * fresh > budget_) return false;
  for (std::size_t i = first; i < last; ++i) region.written[i] = true;
  resident_ += kResidencyChunk * fresh;
  return true;
}

void AddressSpace::forget_written(Region& region, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < std::min(last, region.written.size()); ++i) {
    if (region.written[i]) resident_ -= kResidencyChunk;
    region.written[i] = false;
  }
}

void AddressSpace::zero(Region& region, std::uintptr_t address, Bytes size) {
  if (!written(region, address, size)) return;
  const auto end = address + static_cast<std::uintptr_t>(size.count());
  const auto unit = static_cast<std::uintptr_t>(kResidencyChunk.count());
  const std::uintptr_t first_whole = region.base + align_up(address - region.base, unit);
  const std::uintptr_t last_whole = region.base + (end - region.base) / unit * unit;
  if (first_whole >= last_whole) {
    std::memset(reinterpret_cast<void*>(address), 0, end - address);
    return;
  }
  std::memset(reinterpret_cast<void*>(address), 0, first_whole - address);
  std::memset(reinterpret_cast<void*>(last_whole), 0, end - last_whole);
  madvise(reinterpret_cast<void*>(first_whole), last_whole - first_whole, MADV_DONTNEED);
  forget_written(region, (first_whole - region.base) / unit, (last_whole - region.base) / unit);
}

}  // namespace vramwise::emulator
