// One pass: an owner at birth, by the phase; a release in the same stretch of that phase makes it temporary.
#include "estimate/training_owners.h"

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

}  // namespace vramwise
