// The history begins in the middle of things and names blocks by address. First it is read once to find out what was
// there before; then it is told again in events.
//
// A block that other streams may still use is freed in two entries, "free_requested" and, later, "free_completed"; most
// have the second right behind the first. empty_cache() has no entry of its own; segments go, and their entries do not
// have the stack of an allocation that follows (the allocator itself releases segments only to get another one).
#include "allocator/trace_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <unordered_map>
#include <unordered_set>

namespace vramwise {
namespace {

constexpr std::size_t kMostStreams = 4096;
constexpr std::int64_t kLargestBytes = std::int64_t{1} << 46;
const std::vector<TraceEntry> kNoHistory;

bool releases_segment(TraceAction action) {
  return action == TraceAction::kSegmentFree || action == TraceAction::kSegmentUnmap;
}

class Teller {
 public:
  Teller(const MemorySnapshot& snapshot, std::size_t device)
      : snapshot_(snapshot),
        device_(static_cast<std::int64_t>(device)),
        trace_(device < snapshot.traces.size() ? snapshot.traces[device] : kNoHistory) {}

  Result<TracedEvents> run() {
    find_what_was_before();
    for (const auto& [address, earlier] : before_) {
      result_.allocations.push_back({.bytes = earlier.bytes, .stack = earlier.stack, .before_history = true});
      begin(address, earlier.bytes, stream_index(earlier.stream), TracedEvents::kBeforeHistory);
    }
    for (std::size_t i = 0; i < trace_.size(); ++i) tell(i);
    if (streams_.size() > kMostStreams)
      return world_error(fmt::format("the history uses {} streams; {} are the most", streams_.size(), kMostStreams));
    measure_segments();
    return std::move(result_);
  }

 private:
  struct Earlier {
    std::int64_t bytes = 0;
    std::int64_t stream = 0;
    StackIndex stack = 0;
  };

  void find_what_was_before() {
    std::unordered_set<std::int64_t> live;
    for (const TraceEntry& entry : trace_) {
      if (entry.action == TraceAction::kAllocate) live.insert(entry.address);
      if (entry.action != TraceAction::kFreeRequested || live.erase(entry.address) > 0) continue;
      before_.try_emplace(entry.address, Earlier{.bytes = entry.size, .stream = entry.stream, .stack = entry.stack});
    }
    for (const SnapshotSegment& segment : snapshot_.segments) {
      if (segment.device != device_) continue;
      for (const SnapshotBlock& block : segment.blocks) {
        if (block.state != SnapshotBlock::State::kAllocated || live.contains(block.address)) continue;
        before_.try_emplace(block.address,
                            Earlier{.bytes = block.requested, .stream = segment.stream, .stack = block.stack});
      }
    }
  }

  /// Index 0 is CUDA's default stream, whose handle is 0; the others in the order of their first use.
  StreamIndex stream_index(std::int64_t handle) {
    if (handle == 0) return 0;
    const auto place = streams_.try_emplace(handle, streams_.size() + 1).first;
    return static_cast<StreamIndex>(std::min(place->second, kMostStreams));
  }

  void emit(const AllocationEvent& event, std::size_t entry) {
    result_.events.push_back(event);
    result_.entries.push_back(entry);
  }

  /// The allocation that was added last.
  void begin(std::int64_t address, std::int64_t bytes, StreamIndex stream, std::size_t entry) {
    const auto id = static_cast<AllocationId>(result_.allocations.size() - 1);
    emit(AllocationEvent::allocate(id, bytes, stream), entry);
    live_[address] = id;
  }

  void tell(std::size_t i) {
    const TraceEntry& entry = trace_[i];
    switch (entry.action) {
      case TraceAction::kAllocate:
        // Should it be there already, then its release was not recorded.
        if (const auto old = live_.find(entry.address); old != live_.end()) emit(AllocationEvent::free(old->second), i);
        if (entry.is_private) ++result_.private_allocations;
        result_.allocations.push_back({.bytes = entry.size, .stack = entry.stack});
        begin(entry.address, entry.size, stream_index(entry.stream), i);
        break;
      case TraceAction::kFreeRequested:
        free(i);
        break;
      case TraceAction::kFreeCompleted:
        if (const auto later = pending_.find(entry.address); later != pending_.end()) {
          emit(AllocationEvent::free_done(later->second), i);
          pending_.erase(later);
        }
        break;
      case TraceAction::kSegmentFree:
      case TraceAction::kSegmentUnmap:
        if (ends_an_emptied_cache(i)) {
          ++result_.emptied_caches;
          emit(AllocationEvent::empty_cache(), i);
        }
        break;
      default:
        break;
    }
  }

  void free(std::size_t i) {
    const std::int64_t address = trace_[i].address;
    const auto found = live_.find(address);
    if (found == live_.end()) return;
    const bool completes_later = i + 1 < trace_.size() && !completes_next(i) && completed_later(i);
    if (completes_later) {
      emit(AllocationEvent::free_later(found->second), i);
      pending_[address] = found->second;
    } else {
      emit(AllocationEvent::free(found->second), i);
    }
    live_.erase(found);
  }

  bool completes_next(std::size_t i) const {
    return trace_[i + 1].action == TraceAction::kFreeCompleted && trace_[i + 1].address == trace_[i].address;
  }

  /// Whether a "free_completed" follows at all: recordings may leave them out.
  bool completed_later(std::size_t i) {
    if (completions_.empty()) {
      for (std::size_t k = 0; k < trace_.size(); ++k)
        if (trace_[k].action == TraceAction::kFreeCompleted) completions_[trace_[k].address] = k;
    }
    const auto last = completions_.find(trace_[i].address);
    return last != completions_.end() && last->second > i;
  }

  bool ends_an_emptied_cache(std::size_t i) const {
    if (i + 1 >= trace_.size()) return true;
    const TraceEntry& next = trace_[i + 1];
    if (releases_segment(next.action)) return false;
    const bool to_make_room = next.action == TraceAction::kSegmentAllocate || next.action == TraceAction::kSegmentMap ||
                              next.action == TraceAction::kOutOfMemory;
    // What an allocation releases to make room has the stack of that allocation.
    return !to_make_room || next.stack != trace_[i].stack;
  }

  void measure_segments() {
    for (const SnapshotSegment& segment : snapshot_.segments)
      if (segment.device == device_) result_.final_reserved_bytes += segment.size;
    // Backwards from the end: what was reserved before an entry.
    std::int64_t reserved = result_.final_reserved_bytes;
    result_.peak_reserved_bytes = reserved;
    for (const auto& entry : trace_ | std::views::reverse) {
      const bool grew = entry.action == TraceAction::kSegmentAllocate || entry.action == TraceAction::kSegmentMap;
      if (!grew && !releases_segment(entry.action)) continue;
      reserved += grew ? -entry.size : entry.size;
      // A history that contradicts itself tells nothing.
      result_.has_segments = reserved >= 0 && reserved <= kLargestBytes;
      if (!result_.has_segments) return;
      result_.peak_reserved_bytes = std::max(result_.peak_reserved_bytes, reserved);
    }
  }

  const MemorySnapshot& snapshot_;
  std::int64_t device_;
  const std::vector<TraceEntry>& trace_;
  TracedEvents result_;
  std::map<std::int64_t, Earlier> before_;  ///< by address
  std::unordered_map<std::int64_t, std::size_t> streams_;
  std::unordered_map<std::int64_t, AllocationId> live_;        ///< by address
  std::unordered_map<std::int64_t, AllocationId> pending_;     ///< freed, not completed
  std::unordered_map<std::int64_t, std::size_t> completions_;  ///< the last of each address
};

}  // namespace

Result<TracedEvents> events_of_trace(const MemorySnapshot& snapshot, std::size_t device) {
  return Teller(snapshot, device).run();
}

}  // namespace vramwise
