// Peaks come of the replay, what lies under them of the lives of allocations (training_owners.h).

#include "estimate/training_ledger.h"

#include <algorithm>

#include "estimate/training_owners.h"

namespace vramwise {
namespace {

TrainingPhase phase_at(const EventList& events, std::size_t index) {
  for (std::size_t i = std::min(index + 1, events.size()); i-- > 0;)
    if (events[i].kind == EventKind::kMark) return static_cast<TrainingPhase>(events[i].id);
  return TrainingPhase::kLoad;
}

}  // namespace

TrainingEstimate ledger_of(const TrainingTrace& trace, const AllocatorOptions& options) {
  const Replay replayed = replay(trace.events, options, {}, trace.repeats.events);
  TrainingEstimate estimate;
  estimate.fits = replayed.fits();  // a card without end counts to DeviceMemoryLimits::kUnlimited
  estimate.allocated = Bytes(replayed.allocated.bytes);
  estimate.reserved = Bytes(replayed.reserved.bytes);
  estimate.parameters = trace.parameters;
  estimate.trained_parameters = trace.trained_parameters;
  estimate.step_work = trace.step_work;
  estimate.host_managed = Bytes(trace.host_managed_bytes);
  estimate.host_pinned = Bytes(trace.host_pinned_bytes);
  estimate.host_pageable = Bytes(trace.host_pageable_bytes);
  for (const ReplayPhase& phase : replayed.phases) {
    Bytes& most = estimate.phase_allocated[phase.number];
    most = std::max(most, Bytes(phase.allocated_bytes));
  }
  estimate.at_peak = Breakdown::of(owned_after(trace, replayed.allocated.event, options));
  estimate.unsplit = estimate.allocated - estimate.at_peak.total();
  estimate.phase = phase_at(trace.events, replayed.allocated.event);
  return estimate;
}

void replay_on_card(const TrainingTrace& trace, const TrainingCard& card, const AllocatorOptions& options,
                    TrainingEstimate& estimate) {
  const DeviceMemoryLimits limits{.total_bytes = card.total->count(),
                                  .taken_bytes = (card.context + card.communicator).count()};
  const Replay replayed = replay(trace.events, options, limits, trace.repeats.events);
  estimate.fits = replayed.fits();
  estimate.allocation_retries = replayed.stats.num_alloc_retries;
  estimate.out_of_memory = replayed.out_of_memory;
  estimate.reserved_on_card = Bytes(replayed.reserved.bytes);
  if (replayed.out_of_memory) estimate.out_of_memory_phase = phase_at(trace.events, replayed.out_of_memory->event);
}

}  // namespace vramwise
