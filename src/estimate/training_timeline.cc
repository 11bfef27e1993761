// A second replay, with the sum of each owner kept beside the allocator's.
#include "estimate/training_timeline.h"

#include <algorithm>

#include "allocator/caching_allocator.h"
#include "allocator/size_rules.h"
#include "estimate/training_owners.h"

namespace vramwise {
namespace {

class Walk {
 public:
  Walk(const TrainingTrace& trace, const AllocatorOptions& options)
      : trace_(trace),
        options_(options),
        owners_(owners_of(trace)),
        allocator_(options, DeviceMemory(DeviceMemoryLimits{})),
        replayer_(allocator_) {}

  void apply(std::size_t index) {
    const AllocationEvent& event = trace_.events[index];
    if (event.kind == EventKind::kMark) enter(static_cast<TrainingPhase>(event.id));
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= live_.size()) live_.resize(std::size_t{event.id} + 1);
      live_[event.id] = {.owner = owners_[index], .bytes = Bytes(rounded_block_bytes(options_, event.bytes))};
      add(live_[event.id], 1);
    }
    if (event.kind == EventKind::kFree) add(live_[event.id], -1);
    replayer_.apply(event);
    now_.reserved = Bytes(allocator_.stats().reserved_bytes.current);
  }

  const TrainingMoment& now() const { return now_; }
  Bytes allocated() const { return allocated_; }

 private:
  struct Live {
    Owner owner = Owner::kWeights;
    Bytes bytes;
  };

  void add(const Live& block, int sign) {
    const Bytes bytes(sign * block.bytes.count());
    now_.by_owner[static_cast<std::size_t>(block.owner)] += bytes;
    allocated_ += bytes;
  }

  void enter(TrainingPhase phase) {
    if (now_.phase == TrainingPhase::kOptimizerStep) ++now_.step;
    now_.phase = phase;
  }

  const TrainingTrace& trace_;
  const AllocatorOptions& options_;
  std::vector<Owner> owners_;
  std::vector<Live> live_;
  CachingAllocator allocator_;
  Replayer replayer_;
  TrainingMoment now_;
  Bytes allocated_;
};

}  // namespace

std::vector<TrainingMoment> training_timeline(const TrainingTrace& trace, const AllocatorOptions& options,
                                              std::size_t most) {
  const std::size_t events = trace.events.size();
  const std::size_t pieces = std::min(std::max<std::size_t>(most, 1), events);
  std::vector<TrainingMoment> moments;
  Walk walk(trace, options);
  Bytes largest(-1);
  for (std::size_t i = 0; i < events; ++i) {
    walk.apply(i);
    if (walk.allocated() > largest) {
      largest = walk.allocated();
      if (moments.empty()) moments.emplace_back();
      moments.back() = walk.now();
    }
    if ((i + 1) * pieces / events > i * pieces / events && i + 1 < events) {
      moments.emplace_back();
      largest = Bytes(-1);
    }
  }
  return moments;
}

}  // namespace vramwise
