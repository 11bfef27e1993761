// A small simulation of memory over time: blocks are taken and given back, and the moment when most was live is kept.
// With an allocator beside it, every block is also a call to the model of PyTorch's.
#pragma once

#include <array>
#include <utility>

#include "allocator/free_list.h"
#include "base/bytes.h"
#include "estimate/ledger.h"

namespace vramwise {

class CachingAllocator;

class Timeline {
 public:
  /// Every block is rounded up to a multiple of `granule` bytes, as the allocator of the device does. `allocator`,
  /// which may be null and must outlive this, sees what is taken and given back.
  explicit Timeline(std::int64_t granule, CachingAllocator* allocator = nullptr)
      : granule_(granule), allocator_(allocator) {}
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  /// A live block; given back when it goes out of scope, like a tensor.
  class Block {
   public:
    Block() = default;
    Block(Block&& other) noexcept
        : timeline_(std::exchange(other.timeline_, nullptr)),
          owner_(other.owner_),
          bytes_(other.bytes_),
          place_(other.place_) {}
    Block& operator=(Block&& other) noexcept {
      if (this == &other) return *this;
      release();
      timeline_ = std::exchange(other.timeline_, nullptr);
      owner_ = other.owner_;
      bytes_ = other.bytes_;
      place_ = other.place_;
      return *this;
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { release(); }

    bool holds_memory() const { return timeline_ != nullptr; }
    void release() {
      if (timeline_ != nullptr) std::exchange(timeline_, nullptr)->give_back(*this);
    }

   private:
    friend class Timeline;
    Block(Timeline* timeline, Owner owner, Bytes bytes, BlockIndex place)
        : timeline_(timeline), owner_(owner), bytes_(bytes), place_(place) {}

    Timeline* timeline_ = nullptr;
    Owner owner_ = Owner::kTemporaries;
    Bytes bytes_;
    BlockIndex place_ = kNoBlock;
  };

  [[nodiscard]] Block take(Owner owner, Bytes bytes);
  void enter(Phase phase) { phase_ = phase; }
  /// Once the allocator has reserved more than so many bytes, it is asked for nothing any more.
  void set_most_reserved(Bytes most) { most_reserved_ = most; }

  Bytes live() const { return live_; }
  Bytes peak() const { return peak_; }
  Phase peak_phase() const { return peak_phase_; }
  Breakdown at_peak() const { return Breakdown::of(peak_by_owner_); }

 private:
  void give_back(const Block& block);

  std::int64_t granule_;
  CachingAllocator* allocator_;
  Bytes most_reserved_{std::int64_t{1} << 61};
  Phase phase_ = Phase::kForward;
  Bytes live_;
  PartBytes live_by_owner_{};
  Bytes peak_;
  Phase peak_phase_ = Phase::kForward;
  PartBytes peak_by_owner_{};
};

}  // namespace vramwise
