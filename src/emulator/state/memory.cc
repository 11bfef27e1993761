// Ties sizes (DeviceLedger) to addresses (AddressSpace): every byte that an entry point hands out goes through here.
#include "emulator/state/memory.h"

namespace vramwise::emulator {
namespace {

std::uintptr_t to_address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }
void* to_pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

Memory::Memory(const std::vector<CardSpec>& cards, const Faults& faults, Bytes resident_budget)
    : faults_(faults), random_state_(faults.seed) {
  for (const auto& card : cards) ledgers_.emplace_back(card.total, card.other);
  small_.resize(cards.size());
  space_.set_resident_budget(resident_budget);
}

/// The next draw of SplitMix64 against the probability.
bool Memory::unlucky() {
  if (faults_.fail_probability <= 0) return false;
  std::uint64_t z = (random_state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53 < faults_.fail_probability;
}

bool Memory::fault(int device, Bytes size, Moment now) {
  ++allocation_count_;
  if (allocation_count_ == faults_.other_grows_at) ledger(device).other_grows(faults_.other_grows_by);
  const bool drawn = unlucky();
  if (allocation_count_ != faults_.fail_allocation && !drawn) return false;
  ledger(device).refuse(size, now);
  return true;
}

void* Memory::allocate_granules(int device, Bytes size, Moment now) {
  if (!ledger(device).take(size, now)) return nullptr;
  const Region* region = space_.reserve(size.rounded_up(kGranule), RegionKind::kDevice, device, kGranule);
  if (region != nullptr) return to_pointer(region->base);
  ledger(device).give_back(size);
  ledger(device).refuse(size, now);
  return nullptr;
}

void* Memory::allocate_small(int device, Bytes size, Moment now) {
  auto& blocks = small_[static_cast<std::size_t>(device)];
  auto address = blocks.allocate(size);
  if (!address) {
    void* chunk = allocate_granules(device, kGranule, now);
    if (chunk == nullptr) return nullptr;
    blocks.add_chunk(to_address(chunk));
    address = blocks.allocate(size);
  }
  return to_pointer(*address);
}

void* Memory::allocate(int device, Bytes size, Moment now) {
  if (fault(device, size, now)) return nullptr;
  return size <= kLargestSmallBlock ? allocate_small(device, size, now) : allocate_granules(device, size, now);
}

bool Memory::free(void* pointer) {
  const Region* region = space_.find(to_address(pointer));
  if (region == nullptr || region->kind != RegionKind::kDevice) return false;
  const int device = region->device;
  const auto small = small_[static_cast<std::size_t>(device)].free(to_address(pointer));
  if (small.known && !small.emptied_chunk) return true;
  const std::uintptr_t base = small.known ? *small.emptied_chunk : to_address(pointer);
  if (!small.known && region->base != base) return false;
  const Bytes size = space_.find(base)->size;
  space_.release(base);
  ledger(device).give_back(size);
  return true;
}

PhysicalMemory* Memory::create_physical(int device, Bytes size, bool on_host, Moment now) {
  if (!on_host && (fault(device, size, now) || !ledger(device).take(size, now))) return nullptr;
  auto memory = std::make_unique<PhysicalMemory>(PhysicalMemory{.device = device, .size = size, .on_host = on_host});
  PhysicalMemory* handle = memory.get();
  physical_[handle] = std::move(memory);
  return handle;
}

void Memory::release_physical(PhysicalMemory* memory) {
  if (--memory->references > 0) return;
  if (!memory->on_host) ledger(memory->device).give_back(memory->size);
  physical_.erase(memory);
}

bool Memory::map(std::uintptr_t address, PhysicalMemory* memory, Bytes size) {
  const Region* region = space_.find(address);
  if (region == nullptr || region->kind != RegionKind::kReserved) return false;
  if (address + static_cast<std::uintptr_t>(size.count()) > region->end() || size > memory->size) return false;
  const auto after = mappings_.lower_bound(address);
  if (after != mappings_.end() && after->first < address + static_cast<std::uintptr_t>(size.count())) return false;
  if (mapped_at(address) != nullptr) return false;
  mappings_[address] = {.size = size, .memory = memory};
  ++memory->references;
  return true;
}

bool Memory::unmap(std::uintptr_t address, Bytes size) {
  const auto end = address + static_cast<std::uintptr_t>(size.count());
  auto it = mappings_.lower_bound(address);
  if (it == mappings_.end() || it->first != address) return false;
  while (it != mappings_.end() && it->first < end) {
    if (Region* region = space_.find(it->first); region != nullptr) space_.forget(*region, it->first, it->second.size);
    release_physical(it->second.memory);
    it = mappings_.erase(it);
  }
  return true;
}

PhysicalMemory* Memory::mapped_at(std::uintptr_t address) {
  auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) return nullptr;
  const auto& [base, mapping] = *std::prev(after);
  return address < base + static_cast<std::uintptr_t>(mapping.size.count()) ? mapping.memory : nullptr;
}

void Memory::add_pinned(Bytes size) {
  pinned_.live += size;
  if (pinned_.live > pinned_.peak) pinned_.peak = pinned_.live;
  ++pinned_.allocations;
}

void* Memory::allocate_pinned(Bytes size, RegionKind kind, int device) {
  if (size == Bytes(0)) size = Bytes(1);
  const Region* region = space_.reserve(size, kind, device, Bytes(4096));
  if (region == nullptr) return nullptr;
  add_pinned(region->size);
  return to_pointer(region->base);
}

bool Memory::register_pinned(void* address, Bytes size) {
  const Region* region = space_.find(to_address(address));
  if (region != nullptr) return false;
  space_.add_foreign(to_address(address), size, RegionKind::kRegistered, 0);
  add_pinned(size);
  return true;
}

bool Memory::free_pinned(void* address) {
  const Region* region = space_.find(to_address(address));
  if (region == nullptr || region->on_device() || region->base != to_address(address)) return false;
  pinned_.live -= region->size;
  return space_.release(region->base);
}

}  // namespace vramwise::emulator
