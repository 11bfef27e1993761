// The addresses of emulated device memory: reserved in this process without taking host memory until something is
// written.
//
// They are handed out first-fit from a fixed place, so that a run sees the same addresses every time: PyTorch's caching
// allocator breaks ties between free blocks by address.
#pragma once

#include <cstdint>
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

struct Region {
  std::uintptr_t base = 0;
  Bytes size;
  RegionKind kind = RegionKind::kDevice;
  int device = 0;
  std::uint64_t id = 0;       ///< unique in the process (CU_POINTER_ATTRIBUTE_BUFFER_ID)
  std::vector<bool> written;  ///< per kResidencyChunk: host memory stands behind it; empty: none does

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

  /// Whether anything was written into [address, address + size) of a device region.
  bool written(const Region& region, std::uintptr_t address, Bytes size) const;
  /// Marks the range as written, if the budget of host memory allows. `always`: even if it does not.
  bool mark_written(Region& region, std::uintptr_t address, Bytes size, bool always);
  /// Makes the range read as zeros; whole pages go back to the host.
  void zero(Region& region, std::uintptr_t address, Bytes size);

  void set_resident_budget(Bytes budget) { budget_ = budget; }
  Bytes resident() const { return resident_; }

 private:
  std::uintptr_t find_gap(Bytes size, Bytes alignment) const;
  void forget_written(Region& region, std::size_t first, std::size_t last);

  std::map<std::uintptr_t, Region> regions_;
  Bytes budget_ = Bytes::mib(512);
  Bytes resident_;
  std::uint64_t next_id_ = 1;
};

}  // namespace vramwise::emulator
