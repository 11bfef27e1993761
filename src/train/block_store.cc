// Blocks are mappings of their own at multiples of 2 MiB, for which huge pages are asked: faster to take and to
// address.
#include "train/block_store.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace vramwise {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSmallestBlock = std::size_t{1} << 20;

std::size_t page_bytes() {
  static const auto kBytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return kBytes;
}

// Maps a little more, and gives back what lies before and after the aligned block.
void* map_block(std::size_t bytes) {
  const std::size_t mapped = bytes + kHugePage;
  void* const all = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(all);
  const std::uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > start) ::munmap(all, aligned - start);
  char* const block = static_cast<char*>(all) + (aligned - start);
  const std::size_t behind = start + mapped - (aligned + bytes);
  if (behind > 0) ::munmap(block + bytes, behind);
  ::madvise(block, bytes, MADV_HUGEPAGE);  // a wish: without huge pages it works too
  return block;
}

}  // namespace

BlockStore::~BlockStore() {
  for (const Block& block : kept_) ::munmap(block.data, block.bytes);
}

void* BlockStore::take(std::size_t bytes) {
  const std::size_t rounded = (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
  const auto count = static_cast<std::int64_t>(rounded);
  const std::lock_guard<std::mutex> lock(mutex_);
  void* data = reuse(rounded);
  if (data == nullptr) {
    const std::int64_t most = std::max(counts_.most_in_use_bytes, counts_.in_use_bytes + count);
    while (!kept_.empty() && counts_.in_use_bytes + counts_.kept_bytes + count > most) drop_oldest();
    ++counts_.mapped;
    data = map_block(rounded);
    while (data == nullptr && !kept_.empty()) {
      drop_oldest();
      data = map_block(rounded);
    }
    if (data == nullptr) return nullptr;
  }
  in_use_[data] = rounded;
  counts_.in_use_bytes += count;
  counts_.most_in_use_bytes = std::max(counts_.most_in_use_bytes, counts_.in_use_bytes);
  return data;
}

bool BlockStore::give_back(void* data) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = in_use_.find(data);
  if (found == in_use_.end()) return false;
  const std::size_t bytes = found->second;
  in_use_.erase(found);
  counts_.in_use_bytes -= static_cast<std::int64_t>(bytes);
  counts_.kept_bytes += static_cast<std::int64_t>(bytes);
  kept_.push_back({data, bytes});
  kept_by_size_.emplace(bytes, std::prev(kept_.end()));
  return true;
}

BlockStore::Counts BlockStore::counts() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return counts_;
}

void* BlockStore::reuse(std::size_t bytes) {
  const auto found = kept_by_size_.find(bytes);
  if (found == kept_by_size_.end()) return nullptr;
  void* const data = found->second->data;
  kept_.erase(found->second);
  kept_by_size_.erase(found);
  counts_.kept_bytes -= static_cast<std::int64_t>(bytes);
  return data;
}

void BlockStore::drop_oldest() {
  const Block block = kept_.front();
  const auto [first, last] = kept_by_size_.equal_range(block.bytes);
  kept_by_size_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == kept_.begin(); }));
  kept_.pop_front();
  counts_.kept_bytes -= static_cast<std::int64_t>(block.bytes);
  ::munmap(block.data, block.bytes);
}

namespace {

BlockStore& store() {
  static auto* const kStore = new BlockStore;  // never destroyed: tensors are freed until the very end
  return *kStore;
}

void release(void* data) {
  if (!store().give_back(data)) c10::free_cpu(data);
}

class StoreAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* data = bytes >= kSmallestBlock ? store().take(bytes) : nullptr;
    if (data == nullptr) data = c10::alloc_cpu(bytes);  // throws PyTorch's own error where memory has run out
    return {data, data, &release, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

}  // namespace

void use_block_store() {
  static StoreAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
}

}  // namespace vramwise
