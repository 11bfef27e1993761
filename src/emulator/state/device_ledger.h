// The memory of one card, in the granules in which the driver hands it out, as one process sees it. Knows sizes only,
// no addresses.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "emulator/state/shared_cards.h"

namespace vramwise::emulator {

/// The driver maps device memory in pages of 2 MiB (cuMemGetAllocationGranularity reports the same).
inline constexpr Bytes kGranule = Bytes::mib(2);

/// A moment of the run: the n-th change of any ledger, and the virtual clock.
struct Moment {
  std::int64_t sequence = 0;
  std::int64_t time_ns = 0;
};

struct OutOfMemoryEvent {
  Bytes requested;
  Bytes free;
  Moment when;
};

class DeviceLedger {
 public:
  /// `capacity`: all memory of the card; `other`: what processes beyond this run hold of it.
  DeviceLedger(Bytes capacity, Bytes other) : capacity_(capacity), other_(other) {}
  /// From now on, other processes of this run are seen too. Before anything is taken.
  void share(SharedCard card) { shared_ = card; }

  /// Takes `size`, rounded up to granules. False, with the event kept, if the card has not got it.
  bool take(Bytes size, Moment when);
  /// Returns what take() took for the same `size`.
  void give_back(Bytes size);
  /// Notes a refusal that has another cause than the card's size (an injected fault).
  void refuse(Bytes size, Moment when) { events_.push_back({size, free(), when}); }
  /// Another process takes more of the card.
  void other_grows(Bytes by) { other_ += by; }
  /// The CUDA context of this process; part of live() and peak().
  bool open_context(Bytes size, Moment when);

  Bytes capacity() const { return capacity_; }
  Bytes live() const { return live_; }
  Bytes peak() const { return peak_; }
  Moment peak_moment() const { return peak_moment_; }
  Bytes context() const { return context_; }
  Bytes other() const { return other_; }
  /// What other processes of this run hold at this moment.
  Bytes neighbours() const;
  /// The most that the processes of this run held at once; 0 where they are not seen.
  Bytes together_peak() const;
  /// What cudaMemGetInfo calls free; never negative.
  Bytes free() const;
  std::int64_t allocations() const { return allocations_; }
  const std::vector<OutOfMemoryEvent>& out_of_memory_events() const { return events_; }

 private:
  bool add(Bytes size, Moment when);

  Bytes capacity_;
  Bytes other_;
  SharedCard shared_;
  Bytes context_;
  Bytes live_;
  Bytes peak_;
  Moment peak_moment_;
  std::int64_t allocations_ = 0;
  std::vector<OutOfMemoryEvent> events_;
};

}  // namespace vramwise::emulator
