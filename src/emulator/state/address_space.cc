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
constexpr auto kUnit = static_cast<std::uintptr_t>(kResidencyChunk.count());

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
  const auto offset = address - region.base;
  return {offset / kUnit, (offset + static_cast<std::uintptr_t>(size.count()) + kUnit - 1) / kUnit};
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
  region = {.base = base, .size = rounded, .kind = kind, .device = device, .id = next_id_++, .chunks = {}};
  return &region;
}

Region* AddressSpace::add_foreign(std::uintptr_t base, Bytes size, RegionKind kind, int device) {
  Region& region = regions_[base];
  region = {.base = base, .size = size, .kind = kind, .device = device, .id = next_id_++, .chunks = {}};
  return &region;
}

bool AddressSpace::release(std::uintptr_t base) {
  const auto found = regions_.find(base);
  if (found == regions_.end()) return false;
  Region& region = found->second;
  set_chunks(region, 0, region.chunks.size(), ChunkState::kUnknown);
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

bool AddressSpace::any_chunk(const Region& region, std::uintptr_t address, Bytes size,
                             std::initializer_list<ChunkState> states) const {
  const auto [first, last] = chunks_of(region, address, size);
  const auto is = [&](ChunkState state) { return std::find(states.begin(), states.end(), state) != states.end(); };
  const std::size_t known_last = std::min(last, region.chunks.size());
  if (last > region.chunks.size() && is(ChunkState::kUnknown)) return true;
  for (std::size_t i = first; i < known_last; ++i) {
    if (is(region.chunks[i])) return true;
  }
  return false;
}

/// Chunks of the range without host memory behind them.
std::int64_t AddressSpace::fresh_chunks(const Region& region, std::uintptr_t address, Bytes size) const {
  const auto [first, last] = chunks_of(region, address, size);
  std::int64_t fresh = 0;
  for (std::size_t i = first; i < last; ++i) {
    if (i >= region.chunks.size() || region.chunks[i] != ChunkState::kWritten) ++fresh;
  }
  return fresh;
}

/// Unknown chunks among [first, last) get the fill, as what is done in place is seen from then on. (Their pages are
/// zeros, as are those of kZero.)
void AddressSpace::fill_unknown(Region& region, std::size_t first, std::size_t last) const {
  for (std::size_t i = first; i < last && fill_ != 0; ++i) {
    if (i < region.chunks.size() && region.chunks[i] != ChunkState::kUnknown) continue;
    const std::uintptr_t begin = region.base + i * kUnit;
    std::memset(reinterpret_cast<void*>(begin), fill_, std::min(kUnit, region.end() - begin));
  }
}

bool AddressSpace::mark_written(Region& region, std::uintptr_t address, Bytes size, bool always) {
  if (!always && resident_ + kResidencyChunk * fresh_chunks(region, address, size) > budget_) return false;
  const auto [first, last] = chunks_of(region, address, size);
  if (first == last) return true;
  fill_unknown(region, first, first + 1);  // those in between are overwritten whole
  fill_unknown(region, std::max(first + 1, last - 1), last);
  set_chunks(region, first, last, ChunkState::kWritten);
  return true;
}

bool AddressSpace::expose(Region& region, std::uintptr_t address, Bytes size) {
  // As much again as copies may take: weights that the program copied leave room for the small tensors of a helper.
  if (resident_ + kResidencyChunk * fresh_chunks(region, address, size) > budget_ * 2) return false;
  const auto [first, last] = chunks_of(region, address, size);
  fill_unknown(region, first, last);
  set_chunks(region, first, last, ChunkState::kWritten);
  return true;
}

void AddressSpace::set_chunks(Region& region, std::size_t first, std::size_t last, ChunkState state) {
  if (region.chunks.size() < last) {
    if (state == ChunkState::kUnknown) last = std::max(first, region.chunks.size());
    region.chunks.resize(std::max(last, region.chunks.size()), ChunkState::kUnknown);
  }
  for (std::size_t i = first; i < last; ++i) {
    if (region.chunks[i] == ChunkState::kWritten) resident_ -= kResidencyChunk;
    if (state == ChunkState::kWritten) resident_ += kResidencyChunk;
    region.chunks[i] = state;
  }
}

void AddressSpace::read(const Region& region, std::uintptr_t address, Bytes size, void* to) const {
  auto* out = static_cast<unsigned char*>(to);
  const auto end = address + static_cast<std::uintptr_t>(size.count());
  while (address < end) {
    const std::size_t chunk = (address - region.base) / kUnit;
    const std::size_t length = std::min(end, region.base + (chunk + 1) * kUnit) - address;
    const ChunkState state = chunk < region.chunks.size() ? region.chunks[chunk] : ChunkState::kUnknown;
    if (state == ChunkState::kWritten) {
      std::memcpy(out, reinterpret_cast<const void*>(address), length);
    } else {
      std::memset(out, state == ChunkState::kZero ? 0 : fill_, length);
    }
    address += length;
    out += length;
  }
}

/// Chunks that the range covers wholly change their state and lose their pages; the rest of it is written.
void AddressSpace::set_uniform(Region& region, std::uintptr_t address, Bytes size, ChunkState state) {
  const int byte = state == ChunkState::kZero ? 0 : fill_;
  const auto end = address + static_cast<std::uintptr_t>(size.count());
  const auto write = [&](std::uintptr_t from, std::uintptr_t to) {
    const Bytes length(static_cast<std::int64_t>(to - from));
    const bool differs = state == ChunkState::kUnknown || fill_ == 0
                             ? any_chunk(region, from, length, {ChunkState::kWritten})
                             : any_chunk(region, from, length, {ChunkState::kWritten, ChunkState::kUnknown});
    if (length == Bytes(0) || !differs) return;
    mark_written(region, from, length, true);
    std::memset(reinterpret_cast<void*>(from), byte, to - from);
  };
  const std::uintptr_t first_whole = region.base + align_up(address - region.base, kUnit);
  // The last chunk of a region may be short; it is whole if the range goes to the region's end.
  const std::uintptr_t last_whole = end == region.end() ? end : region.base + (end - region.base) / kUnit * kUnit;
  if (first_whole >= last_whole) return write(address, end);
  write(address, first_whole);
  write(last_whole, end);
  const Bytes whole(static_cast<std::int64_t>(last_whole - first_whole));
  if (any_chunk(region, first_whole, whole, {ChunkState::kWritten})) {
    madvise(reinterpret_cast<void*>(first_whole), last_whole - first_whole, MADV_DONTNEED);
  } else if (fill_ == 0) {
    return;  // zeros and unknown read alike
  }
  const auto [first, last] = chunks_of(region, first_whole, whole);
  set_chunks(region, first, last, state);
}

void AddressSpace::zero(Region& region, std::uintptr_t address, Bytes size) {
  set_uniform(region, address, size, ChunkState::kZero);
}

void AddressSpace::forget(Region& region, std::uintptr_t address, Bytes size) {
  set_uniform(region, address, size, ChunkState::kUnknown);
}

}  // namespace vramwise::emulator
