// The addresses of emulated device memory: reserved in this process without taking host memory until something is
// written. What each piece of it holds is remembered: something that was written, zeros, or nothing that is known.
//
// They are handed out first-fit from a fixed place, so that a run sees the same addresses every time: PyTorch's caching
// allocator breaks ties between free blocks by address.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"

namespace vramwise::emulator {

enum class RegionKind {
  kDevice,      ///< cudaMalloc and its kin
  kReserved,    ///< cuMemAddressReserve: addresses, to be mapped later
  kPinned,      ///< page-locked host memory of ours (cudaHostAlloc)
  kRegistered,  ///< host memory of the program's own that it registered (cudaHostRegister)
  kManaged,     ///< cudaMallocManaged
};

/// What a chunk of device memory holds.
enum class ChunkState : std::uint8_t {
  kUnknown,  ///< work that was skipped, or nothing yet: reads as the fill
  kZero,     ///< zeros, without host memory behind them
  kWritten,  ///< host memory stands behind it
};

struct Region {
  std::uintptr_t base = 0;
  Bytes size;
  RegionKind kind = RegionKind::kDevice;
  int device = 0;
  std::uint64_t id = 0;            ///< unique in the process (CU_POINTER_ATTRIBUTE_BUFFER_ID)
  std::vector<ChunkState> chunks;  ///< one per kResidencyChunk; what lies beyond its end is unknown

  bool on_device() const { return kind == RegionKind::kDevice || kind == RegionKind::kReserved; }
  std::uintptr_t end() const { return base + static_cast<std::uintptr_t>(size.count()); }
};

/// The unit in which we remember where something was written.
inline constexpr Bytes kResidencyChunk = Bytes::kib(64);

class AddressSpace {
 public:
  AddressSpace() = default;
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  /// `size` bytes of fresh zeros at an address aligned to `alignment` (a power of two); null: the host gives no
  /// addresses.
  Region* reserve(Bytes size, RegionKind kind, int device, Bytes alignment);
  /// Memory that the program owns.
  Region* add_foreign(std::uintptr_t base, Bytes size, RegionKind kind, int device);
  /// Gives addresses and pages back. False: no region begins there.
  bool release(std::uintptr_t base);

  /// The region that holds `address`, or null.
  Region* find(std::uintptr_t address);

  /// Whether a chunk of [address, address + size) of a device region is in one of the `states`.
  bool any_chunk(const Region& region, std::uintptr_t address, Bytes size,
                 std::initializer_list<ChunkState> states) const;
  /// For a caller that overwrites the whole range: puts host memory behind it, if the budget allows. `always`: even if
  /// it does not. What else the chunks hold stays.
  bool mark_written(Region& region, std::uintptr_t address, Bytes size, bool always);
  /// Puts host memory that holds what the range holds behind it, up to twice the budget.
  bool expose(Region& region, std::uintptr_t address, Bytes size);
  /// What the range holds, into `to`.
  void read(const Region& region, std::uintptr_t address, Bytes size, void* to) const;
  /// Makes the range read as zeros; whole chunks go back to the host.
  void zero(Region& region, std::uintptr_t address, Bytes size);
  /// Makes the range unknown; whole chunks go back to the host.
  void forget(Region& region, std::uintptr_t address, Bytes size);

  void set_resident_budget(Bytes budget) { budget_ = budget; }
  Bytes resident() const { return resident_; }
  /// The byte that unknown memory reads as.
  void set_fill(std::uint8_t fill) { fill_ = fill; }
  std::uint8_t fill() const { return fill_; }

 private:
  std::uintptr_t find_gap(Bytes size, Bytes alignment) const;
  std::int64_t fresh_chunks(const Region& region, std::uintptr_t address, Bytes size) const;
  void fill_unknown(Region& region, std::size_t first, std::size_t last) const;
  void set_uniform(Region& region, std::uintptr_t address, Bytes size, ChunkState state);
  void set_chunks(Region& region, std::size_t first, std::size_t last, ChunkState state);

  std::map<std::uintptr_t, Region> regions_;
  Bytes budget_ = Bytes::mib(512);
  Bytes resident_;
  std::uint8_t fill_ = 0;
  std::uint64_t next_id_ = 1;
};

}  // namespace vramwise::emulator
