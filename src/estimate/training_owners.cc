// One pass: an owner at birth, by the phase; a release in the same stretch of that phase makes it temporary.
#include "estimate/training_owners.h"

#include <algorithm>

#include "allocator/size_rules.h"

namespace vramwise {
namespace {

Owner owner_at_birth(TrainingPhase phase) {
  switch (phase) {
    case TrainingPhase::kLoad:
      return Owner::kWeights;
    case TrainingPhase::kForward:
      return Owner::kActivations;
    case TrainingPhase::kLoss:
      return Owner::kLoss;
    case TrainingPhase::kBackward:
      return Owner::kGradients;
    case TrainingPhase::kOptimizerStep:
      break;
  }
  return Owner::kOptimizerStates;
}

struct Birth {
  std::size_t event = 0;
  std::size_t stretch = 0;
};

// A workspace stays: what bears its name and is not released any more is it.
bool stays(const EventList& events, std::size_t after, AllocationId id) {
  for (std::size_t i = after + 1; i < events.size(); ++i)
    if (events[i].kind == EventKind::kFree && events[i].id == id) return false;
  return true;
}

}  // namespace

std::vector<Owner> owners_of(const TrainingTrace& trace) {
  std::vector<Owner> owners(trace.events.size(), Owner::kWeights);
  std::vector<Birth> births;
  TrainingPhase phase = TrainingPhase::kLoad;
  std::size_t stretch = 0;
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const AllocationEvent& event = trace.events[i];
    if (event.kind == EventKind::kMark) {
      phase = static_cast<TrainingPhase>(event.id);
      ++stretch;
    } else if (event.kind == EventKind::kAllocate) {
      if (event.id >= births.size()) births.resize(std::size_t{event.id} + 1);
      births[event.id] = {.event = i, .stretch = stretch};
      owners[i] = owner_at_birth(phase);
    } else if (event.kind == EventKind::kFree && births[event.id].stretch == stretch) {
      Owner& owner = owners[births[event.id].event];
      if (owner != Owner::kWeights && owner != Owner::kLoss) owner = Owner::kTemporaries;
    }
  }
  for (const AllocationId id : trace.workspaces)
    if (id < births.size()) owners[births[id].event] = Owner::kWorkspaces;
  for (const std::size_t event : trace.gathered) owners[event] = Owner::kWeights;
  for (const std::size_t event : trace.buckets) owners[event] = Owner::kGradients;
  return owners;
}

PartBytes owned_after(const TrainingTrace& trace, std::size_t last, const AllocatorOptions& options) {
  constexpr std::size_t kNotAlive = ~std::size_t{0};
  const EventList& events = trace.events;
  std::vector<std::size_t> births;  // by id
  std::vector<std::size_t> marks;
  for (std::size_t i = 0; i <= last && i < events.size(); ++i) {
    const AllocationEvent& event = events[i];
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= births.size()) births.resize(2 * std::size_t{event.id} + 1, kNotAlive);
      births[event.id] = i;
    } else if (event.kind == EventKind::kFree) {
      births[event.id] = kNotAlive;
    } else if (event.kind == EventKind::kMark) {
      marks.push_back(i);
    }
  }
  // Only what this stretch of the phase has allocated can be released in it.
  const std::size_t stretch = marks.empty() ? 0 : marks.back();
  std::vector<bool> is_temporary(births.size());
  for (std::size_t i = last + 1; i < events.size() && events[i].kind != EventKind::kMark; ++i) {
    // Another's release under the same name comes after that of the one that is meant.
    if (events[i].kind == EventKind::kFree && events[i].id < births.size()) is_temporary[events[i].id] = true;
  }
  PartBytes sum{};
  for (AllocationId id = 0; id < births.size(); ++id) {
    const std::size_t birth = births[id];
    if (birth == kNotAlive) continue;
    const auto mark = std::ranges::upper_bound(marks, birth);
    const auto phase =
        mark == marks.begin() ? TrainingPhase::kLoad : static_cast<TrainingPhase>(events[*(mark - 1)].id);
    Owner owner = owner_at_birth(phase);
    const bool may_be_temporary = owner != Owner::kWeights && owner != Owner::kLoss;
    if (may_be_temporary && birth >= stretch && is_temporary[id]) owner = Owner::kTemporaries;
    const bool may_be_workspace = std::ranges::find(trace.workspaces, id) != trace.workspaces.end();
    if (may_be_workspace && stays(events, last, id)) owner = Owner::kWorkspaces;
    if (std::ranges::binary_search(trace.gathered, birth)) owner = Owner::kWeights;
    if (std::ranges::binary_search(trace.buckets, birth)) owner = Owner::kGradients;
    sum[static_cast<std::size_t>(owner)] += Bytes(rounded_block_bytes(options, events[birth].bytes));
  }
  return sum;
}

}  // namespace vramwise
