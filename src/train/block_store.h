// BlockStore: large blocks of memory that a step gives back are used again in the next one, without more being held
// than has been in use at once.
//
// A step takes and frees the same sizes each time. If every free goes back to the system, the kernel clears those pages
// anew in every step (7 % of a step on the CPU); if none does, what is resident grows beyond what the plan predicted.
// Here blocks in use and blocks kept together never exceed the most that was in use at once: when they would, the block
// that was kept longest goes back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>

namespace vramwise {

class BlockStore {
 public:
  struct Counts {
    std::int64_t in_use_bytes = 0;
    std::int64_t kept_bytes = 0;
    std::int64_t most_in_use_bytes = 0;
    std::int64_t mapped = 0;  ///< how often the system was asked
  };

  BlockStore() = default;
  BlockStore(const BlockStore&) = delete;
  BlockStore& operator=(const BlockStore&) = delete;
  ~BlockStore();

  /// At least `bytes` (> 0) at a multiple of 2 MiB, of any content; nullptr when the system has no more. Sizes are
  /// rounded up to pages.
  void* take(std::size_t bytes);

  /// Returns false, and does nothing, if `data` is no block in use.
  bool give_back(void* data);

  Counts counts() const;

 private:
  struct Block {
    void* data;
    std::size_t bytes;
  };
  using Kept = std::list<Block>;  ///< longest kept first

  void* reuse(std::size_t bytes);
  void drop_oldest();

  mutable std::mutex mutex_;
  std::unordered_map<void*, std::size_t> in_use_;
  Kept kept_;
  std::unordered_multimap<std::size_t, Kept::iterator> kept_by_size_;
  Counts counts_;
};

/// From now on PyTorch's large CPU tensors come from a BlockStore that lasts as long as the process.
void use_block_store();

}  // namespace vramwise
