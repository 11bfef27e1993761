// All memory of the emulated machine: what each card has handed out, at which addresses, and page-locked host memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "emulator/state/address_space.h"
#include "emulator/state/card.h"
#include "emulator/state/contents.h"
#include "emulator/state/device_ledger.h"
#include "emulator/state/handles.h"
#include "emulator/state/small_blocks.h"

namespace vramwise::emulator {

/// Page-locked host memory of this process.
struct PinnedLedger {
  Bytes live;
  Bytes peak;
  std::int64_t allocations = 0;
};

class Memory {
 public:
  /// `cards`: those that the process sees, in its order.
  Memory(const std::vector<CardSpec>& cards, const Faults& faults, Bytes resident_budget);

  /// Device memory, as cudaMalloc; null: out of memory.
  void* allocate(int device, Bytes size, Moment now);
  /// As cudaFree; false: not an address that allocate() gave.
  bool free(void* address);

  /// As cuMemCreate; null: out of memory. `on_host`: host memory, which takes nothing from the card.
  PhysicalMemory* create_physical(int device, Bytes size, bool on_host, Moment now);
  void release_physical(PhysicalMemory* memory);
  bool is_physical(const PhysicalMemory* memory) const { return physical_.contains(memory); }
  /// As cuMemMap and cuMemUnmap. Unmapping a range unmaps every mapping that begins in it.
  bool map(std::uintptr_t address, PhysicalMemory* memory, Bytes size);
  bool unmap(std::uintptr_t address, Bytes size);
  PhysicalMemory* mapped_at(std::uintptr_t address);

  /// Page-locked host memory; null: the host has none.
  void* allocate_pinned(Bytes size, RegionKind kind, int device);
  bool free_pinned(void* address);
  bool register_pinned(void* address, Bytes size);

  /// A communicator's buffers and the like: taken without an address. False: out of memory.
  bool take(int device, Bytes size, Moment now) { return ledgers_[static_cast<std::size_t>(device)].take(size, now); }
  void give_back(int device, Bytes size) { ledgers_[static_cast<std::size_t>(device)].give_back(size); }

  DeviceLedger& ledger(int device) { return ledgers_[static_cast<std::size_t>(device)]; }
  const std::vector<DeviceLedger>& ledgers() const { return ledgers_; }
  AddressSpace& space() { return space_; }
  Contents& contents() { return contents_; }
  const Contents& contents() const { return contents_; }
  const PinnedLedger& pinned() const { return pinned_; }

 private:
  struct Mapping {
    Bytes size;
    PhysicalMemory* memory = nullptr;
  };

  void* allocate_small(int device, Bytes size, Moment now);
  void* allocate_granules(int device, Bytes size, Moment now);
  bool fault(int device, Bytes size, Moment now);
  bool unlucky();
  void add_pinned(Bytes size);

  std::vector<DeviceLedger> ledgers_;
  std::vector<SmallBlocks> small_;
  Faults faults_;
  std::uint64_t random_state_;
  std::int64_t allocation_count_ = 0;
  AddressSpace space_;
  Contents contents_{space_};
  PinnedLedger pinned_;
  std::map<const PhysicalMemory*, std::unique_ptr<PhysicalMemory>> physical_;
  std::map<std::uintptr_t, Mapping> mappings_;
};

}  // namespace vramwise::emulator
