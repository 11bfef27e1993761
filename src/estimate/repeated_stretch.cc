// What a step or pass leaves is read off its events: allocations are all that is remembered on shapes from one to the
// next, beside what it takes of the host.
#include "estimate/repeated_stretch.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace vramwise {
namespace {

std::int64_t host_bytes(const tape::Tape& tape) {
  return tape.host_bytes(tape::HostMemory::kManaged) + tape.host_bytes(tape::HostMemory::kPageable);
}

// By another name where it is repeated, that of the event at the same place.
EventCycle repeated_cycle(const EventCycle& cycle, std::size_t shift, const EventList& events) {
  EventCycle repeat = cycle;
  repeat.first += shift;
  repeat.last += shift;
  if (!repeat.unwritten) return repeat;
  // An id may be given anew once it is free: what is left was allocated last, what is freed was before all.
  std::unordered_map<AllocationId, AllocationId> left, freed;
  for (std::size_t i = cycle.first; i < cycle.last; ++i) {
    if (events[i].kind == EventKind::kAllocate) left[events[i].id] = events[i + shift].id;
    if (events[i].kind == EventKind::kFree) freed.try_emplace(events[i].id, events[i + shift].id);
  }
  for (AllocationId& id : repeat.unwritten->left) id = left.at(id);
  for (AllocationId& id : repeat.unwritten->freed) id = freed.at(id);
  return repeat;
}

}  // namespace

RepeatedStretch::RepeatedStretch(const tape::Tape& tape, std::vector<AllocationId> replaced)
    : begin_(tape.events().size()),
      work_(tape.work()),
      host_bytes_(host_bytes(tape)),
      pinned_memory_(tape.pinned_memory()),
      replaced_(std::move(replaced)) {}

bool RepeatedStretch::ends(const tape::Tape& tape, std::vector<AllocationId> replacing) {
  end_ = tape.events().size();
  work_ = tape.work() - work_;
  replacing_ = std::move(replacing);
  in_place_ = replacing_;
  // Page-locked memory has a cache of its own, of which events don't tell.
  if (!(tape.pinned_memory() == pinned_memory_)) return false;
  if (host_bytes(tape) != host_bytes_ || replaced_.size() != replacing_.size()) return false;
  std::vector<bool> is_new(tape.id_count());
  std::vector<bool> may_go(tape.id_count());
  for (const AllocationId id : replaced_) may_go[id] = true;
  std::size_t gone = 0;
  std::size_t alive = 0;
  for (std::size_t i = begin_; i < end_; ++i) {
    const AllocationEvent& event = tape.events()[i];
    if (event.kind == EventKind::kAllocate) {
      is_new[event.id] = true;
      ++alive;
    } else if (event.kind == EventKind::kFree && is_new[event.id]) {
      is_new[event.id] = false;
      --alive;
    } else if (event.kind == EventKind::kFree && may_go[event.id]) {
      may_go[event.id] = false;
      ++gone;
    } else if (event.kind == EventKind::kRecordStream) {
      // What stays has that stream recorded from now on, and again makes no difference.
      if (!is_new[event.id]) staying_.push_back(event.id);
    } else if (event.kind != EventKind::kMark) {
      return false;
    }
  }
  return gone == replaced_.size() && alive == replacing_.size() &&
         std::ranges::all_of(replacing_, [&](AllocationId id) { return is_new[id]; });
}

void RepeatedStretch::repeat(tape::Tape& tape, std::vector<AllocationId> replaced) {
  in_place_ = std::move(replaced);
  repeat(tape);
}

void RepeatedStretch::repeat(tape::Tape& tape) {
  repeats_.push_back(tape.events().size());
  names_.resize(tape.id_count());
  for (const AllocationId id : staying_) names_[id] = id;
  for (std::size_t i = 0; i < replaced_.size(); ++i) names_[replaced_[i]] = in_place_[i];
  tape.repeat_events(begin_, end_, names_);
  tape.add_work(work_);
  for (std::size_t i = 0; i < replacing_.size(); ++i) in_place_[i] = names_[replacing_[i]];
}

void RepeatedStretch::repeat_unwritten(tape::Tape& tape) {
  ++unwritten_;
  tape.add_work(work_);
}

EventRepeat RepeatedStretch::events() const {
  if (repeats() == 0) return {};
  EventRepeat repeat{.first = begin_, .last = end_};
  if (unwritten_ > 0) {
    repeat.unwritten = Renaming{.left = replacing_, .freed = replaced_};
    repeat.unwritten_times = static_cast<std::size_t>(unwritten_);
  }
  return repeat;
}

void RepeatedStretch::add_repeated(std::vector<std::size_t>& places) const {
  const std::size_t count = places.size();
  for (const std::size_t begin : repeats_)
    for (std::size_t i = 0; i < count; ++i)
      if (places[i] >= begin_ && places[i] < end_) places.push_back(places[i] + begin - begin_);
  std::ranges::inplace_merge(places, places.begin() + static_cast<std::ptrdiff_t>(count));
}

void RepeatedStretch::add_repeated(std::vector<EventCycle>& cycles, const EventList& events) const {
  const std::size_t count = cycles.size();
  for (const std::size_t begin : repeats_)
    for (std::size_t i = 0; i < count; ++i)
      if (cycles[i].first >= begin_ && cycles[i].last <= end_)
        cycles.push_back(repeated_cycle(cycles[i], begin - begin_, events));
}

}  // namespace vramwise
