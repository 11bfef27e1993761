// Events that come again and again need not be replayed once the allocator is, after a turn, in the state in which it
// was after an earlier one: every block where it was, and what the next turn frees in the same ones. What follows is
// then what followed before. Passes of gradient accumulation come to that after a few turns.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "allocator/caching_allocator.h"
#include "allocator/event.h"
#include "allocator/event_repeat.h"
#include "allocator/replay.h"
#include "allocator/steady_state.h"

namespace vramwise {

class CycleWatch {
 public:
  /// Before the first turn.
  CycleWatch(CachingAllocator& allocator, Replayer& replayer, std::span<const AllocationEvent> events,
             const EventCycle& cycle)
      : allocator_(allocator), replayer_(replayer), events_(events), cycle_(cycle) {
    note_beginning();
    watch(0);
  }

  struct Skip {
    std::size_t turns = 0;   ///< that need not be replayed: the replayer's ids are as if they had been
    std::size_t period = 1;  ///< they are like so many that were
  };
  /// After this turn was replayed (the first is 0), and all before it but those left out.
  Skip after(std::size_t turn);
  /// Whether of the turns to come large blocks need not be replayed: they lie as after the turn before, and what is
  /// replaced is small. (On a card without end the pools know nothing of each other.)
  bool has_settled_large_blocks() const { return has_settled_large_blocks_; }

 private:
  struct State {
    std::vector<CachingAllocator::Place> layout;
    std::int64_t reserved_bytes = 0;
    std::int64_t retries = 0;
    std::vector<std::size_t> left;        ///< offsets of the events that allocated what the turn leaves
    std::vector<std::int64_t> addresses;  ///< of that

    bool operator==(const State&) const = default;
  };

  /// What a turn allocates and leaves, and what it frees of before.
  struct Exchange {
    std::vector<std::size_t> left;      ///< offsets of events
    std::vector<AllocationId> freed;    ///< in order
    std::vector<AllocationId> to_free;  ///< likewise, of the next turn, if it frees what this one left
  };

  /// Of unwritten turns it is known what the first one finds for what it will leave.
  void note_beginning();
  /// None: there are events of which the allocator's layout does not tell.
  std::optional<Exchange> exchange_of(std::size_t turn);
  /// None: the state does not tell all that decides what follows.
  std::optional<State> state_after(std::size_t turn);
  std::optional<State> state_with(std::vector<std::int64_t> addresses) const;
  Skip skip_after(std::size_t turn);
  bool settles_large_blocks(const State& state) const;
  AllocationId name_for_next_turn(AllocationId id) const;
  std::vector<AllocationId> names_for_next_turn(std::vector<AllocationId> ids) const;
  void rename(const State& state, std::size_t turn, std::size_t turns);

  /// Whether the turn that begins settles large blocks.
  void watch(std::size_t turn) {
    if (turn < cycle_.times) turn_.emplace(allocator_, events_.subspan(cycle_.begin_of(turn), cycle_.length()));
  }

  CachingAllocator& allocator_;
  Replayer& replayer_;
  std::span<const AllocationEvent> events_;
  const EventCycle& cycle_;
  std::optional<SteadyState> turn_;  ///< that runs
  std::deque<State> states_;         ///< the newest first
  std::vector<std::size_t> births_;  ///< by id, of what the turn allocated and did not free: offset + 1
  bool has_settled_large_blocks_ = false;
  std::optional<Exchange> exchange_;  ///< of the turn before; those of unwritten ones are all alike
};

/// run(begin, end, is_small) for all events of [first, last), of cycles only for those turns that have to be replayed.
/// `is_small`: only small blocks have to be, if the card is without end. Then
/// left_out(begin, end, period) is told what was not: each `period` of it is like that before `begin`. False as soon as
/// run() says so.
template <typename Run, typename LeftOut>
bool run_with_cycles(CachingAllocator& allocator, Replayer& replayer, std::span<const AllocationEvent> events,
                     std::span<const EventCycle> cycles, std::size_t first, std::size_t last, const Run& run,
                     const LeftOut& left_out) {
  for (const EventCycle& cycle : cycles) {
    if (cycle.first < first || cycle.end() > last) continue;
    if (!run(first, cycle.first, false)) return false;
    CycleWatch watch(allocator, replayer, events, cycle);
    for (std::size_t turn = 0; turn <= cycle.times; ++turn) {
      const std::size_t begin = cycle.begin_of(turn);
      if (turn > 0 && cycle.unwritten) replayer.rename(cycle.unwritten->left, cycle.unwritten->freed);
      if (!run(begin, begin + cycle.length(), watch.has_settled_large_blocks())) return false;
      const CycleWatch::Skip skip = watch.after(turn);
      if (skip.turns == 0) continue;
      left_out(cycle.begin_of(turn + 1), cycle.begin_of(turn + 1 + skip.turns), skip.period * cycle.length());
      turn += skip.turns;
    }
    first = cycle.end();
  }
  return run(first, last, false);
}

}  // namespace vramwise
