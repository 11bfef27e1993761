// Peaks come of the replay, what lies under them of the lives of allocations (training_owners.h).

#include "estimate/training_ledger.h"

#include <algorithm>

#include "allocator/size_rules.h"
#include "estimate/training_owners.h"

namespace vramwise {
namespace {

// What is alive after event `last`, in the allocator's granules.
Breakdown breakdown_after(const TrainingTrace& trace, std::size_t last, const AllocatorOptions& options) {
  const std::vector<Owner> owners = owners_of(trace);
  std::vector<std::size_t> births;
  PartBytes sum{};
  for (std::size_t i = 0; i <= last && i < trace.events.size(); ++i) {
    const AllocationEvent& event = trace.events[i];
    if (event.kind != EventKind::kAllocate && event.kind != EventKind::kFree) continue;
    if (event.id >= births.size()) births.resize(std::size_t{event.id} + 1);
    const bool is_birth = event.kind == EventKind::kAllocate;
    if (is_birth) births[event.id] = i;
    const std::size_t birth = births[event.id];
    const std::int64_t bytes = rounded_block_bytes(options, trace.events[birth].bytes);
    sum[static_cast<std::size_t>(owners[birth])] += Bytes(is_birth ? bytes : -bytes);
  }
  return Breakdown::of(sum);
}

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
  estimate.host_managed = Bytes(trace.host_managed_bytes);
  estimate.host_pinned = Bytes(trace.host_pinned_bytes);
  estimate.host_pageable = Bytes(trace.host_pageable_bytes);
  for (const ReplayPhase& phase : replayed.phases) {
    Bytes& most = estimate.phase_allocated[phase.number];
    most = std::max(most, Bytes(phase.allocated_bytes));
  }
  estimate.at_peak = breakdown_after(trace, replayed.allocated.event, options);
  estimate.unsplit = estimate.allocated - estimate.at_peak.total();
  estimate.phase = phase_at(trace.events, replayed.allocated.event);
  return estimate;
}

void replay_on_card(const TrainingTrace& trace, const TrainingCard& card, const AllocatorOptions& options,
                    TrainingEstimate& estimate) {
  const DeviceMemoryLimits limits{.total_bytes = card.total->count(),
                                  .taken_bytes = (card.context + card.communicator).count()};
  const Replay replayed = replay(trace.events, options, limits);
  estimate.fits = replayed.fits();
  estimate.allocation_retries = replayed.stats.num_alloc_retries;
  estimate.out_of_memory = replayed.out_of_memory;
  estimate.reserved_on_card = Bytes(replayed.reserved.bytes);
  if (replayed.out_of_memory) estimate.out_of_memory_phase = phase_at(trace.events, replayed.out_of_memory->event);
}

}  // namespace vramwise
