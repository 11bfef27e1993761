// Owners follow from lifetimes: what loading allocates is weights; what the forward pass leaves for the backward pass
// is activations (or belongs to the loss, where it was made there); what the backward pass leaves is gradients; what
// the optimizer's step leaves is its states; and what a phase allocates and releases itself is temporary. Which are the
// workspaces of cuBLAS the tape tells.

#include "estimate/training_ledger.h"

#include <algorithm>

#include "allocator/size_rules.h"

namespace vramwise {
namespace {

struct Live {
  std::int64_t bytes = 0;
  TrainingPhase born = TrainingPhase::kLoad;
  bool is_workspace = false;
  bool is_temporary = false;
};

class Survey {
 public:
  Survey(const TrainingTrace& trace, std::size_t last, const AllocatorOptions& options) : options_(options) {
    const EventList& events = trace.events;
    for (std::size_t i = 0; i <= last && i < events.size(); ++i) apply(events[i]);
    for (const AllocationId id : trace.workspaces)
      if (id < live_.size()) live_[id].is_workspace = true;
    mark_temporaries(events, last);
    for (const Live& block : live_)
      if (block.bytes > 0) add(block);
  }

  const Breakdown& breakdown() const { return sum_; }
  TrainingPhase phase() const { return phase_; }

 private:
  void apply(const AllocationEvent& event) {
    if (event.kind == EventKind::kMark) phase_ = static_cast<TrainingPhase>(event.id);
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= live_.size()) live_.resize(event.id + 1);
      live_[event.id] = {.bytes = rounded_block_bytes(options_, event.bytes), .born = phase_};
    }
    if (event.kind == EventKind::kFree) live_[event.id].bytes = 0;
  }

  // What was born in the phase of the peak and goes before its end. What is older has outlived its phase already.
  void mark_temporaries(const EventList& events, std::size_t last) {
    for (std::size_t i = last + 1; i < events.size() && events[i].kind != EventKind::kMark; ++i) {
      const AllocationEvent& event = events[i];
      if (event.kind == EventKind::kFree && event.id < live_.size() && live_[event.id].born == phase_)
        live_[event.id].is_temporary = true;
    }
  }

  void add(const Live& block) {
    const Bytes bytes(block.bytes);
    if (block.is_workspace) {
      sum_.workspaces += bytes;
    } else if (block.born == TrainingPhase::kLoad) {
      sum_.weights += bytes;
    } else if (block.born == TrainingPhase::kLoss) {
      sum_.loss += bytes;
    } else if (block.is_temporary) {
      sum_.temporaries += bytes;
    } else if (block.born == TrainingPhase::kOptimizerStep) {
      sum_.optimizer_states += bytes;
    } else if (block.born == TrainingPhase::kBackward) {
      sum_.gradients += bytes;
    } else {
      sum_.activations += bytes;
    }
  }

  const AllocatorOptions& options_;
  std::vector<Live> live_;
  TrainingPhase phase_ = TrainingPhase::kLoad;
  Breakdown sum_;
};

TrainingPhase phase_at(const EventList& events, std::size_t index) {
  for (std::size_t i = std::min(index + 1, events.size()); i-- > 0;)
    if (events[i].kind == EventKind::kMark) return static_cast<TrainingPhase>(events[i].id);
  return TrainingPhase::kLoad;
}

}  // namespace

TrainingEstimate ledger_of(const TrainingTrace& trace, const AllocatorOptions& options) {
  const Replay replayed = replay(trace.events, options);
  TrainingEstimate estimate;
  estimate.allocated = Bytes(replayed.allocated.bytes);
  estimate.reserved = Bytes(replayed.reserved.bytes);
  estimate.parameters = trace.parameters;
  estimate.trained_parameters = trace.trained_parameters;
  estimate.step_work = trace.step_work;
  for (const ReplayPhase& phase : replayed.phases) {
    Bytes& most = estimate.phase_allocated[phase.number];
    most = std::max(most, Bytes(phase.allocated_bytes));
  }
  const Survey survey(trace, replayed.allocated.event, options);
  estimate.at_peak = survey.breakdown();
  estimate.unsplit = estimate.allocated - estimate.at_peak.total();
  estimate.phase = survey.phase();
  return estimate;
}

void replay_on_card(const TrainingTrace& trace, const TrainingCard& card, const AllocatorOptions& options,
                    TrainingEstimate& estimate) {
  const DeviceMemoryLimits limits{.total_bytes = card.total->count(), .taken_bytes = card.context.count()};
  const Replay replayed = replay(trace.events, options, limits);
  estimate.fits = replayed.fits();
  estimate.allocation_retries = replayed.stats.num_alloc_retries;
  estimate.out_of_memory = replayed.out_of_memory;
  estimate.reserved_on_card = Bytes(replayed.reserved.bytes);
  if (replayed.out_of_memory) estimate.out_of_memory_phase = phase_at(trace.events, replayed.out_of_memory->event);
}

}  // namespace vramwise
