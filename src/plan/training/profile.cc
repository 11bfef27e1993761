// See profile.h.
#include "plan/training/profile.h"

#include <algorithm>

namespace vramwise {
namespace {

/// Walks over a trace's events and knows what is alive.
class Alive {
 public:
  void take(const AllocationEvent& event) {
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= bytes_.size()) bytes_.resize(std::size_t{event.id} + 1);
      bytes_[event.id] = event.bytes;
      sum_ += static_cast<double>(event.bytes);
    } else if (event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) {
      sum_ -= static_cast<double>(bytes_[event.id]);
    }
  }
  double bytes() const { return sum_; }

 private:
  std::vector<std::int64_t> bytes_;
  double sum_ = 0;
};

bool begins(const AllocationEvent& event, TrainingPhase phase) {
  return event.kind == EventKind::kMark && event.id == static_cast<std::uint32_t>(phase);
}

// Whoever recomputes differs from whoever doesn't a little later.
constexpr std::size_t kMostMoments = 512;

}  // namespace

PassProfile::Ends PassProfile::ends_of(const TrainingTrace& trace) {
  Ends ends{.first = trace.first_pass, .later = trace.last_pass, .passes = {}};
  Alive alive;
  int pass = -1;
  bool is_in_loss = false;
  for (const AllocationEvent& event : trace.events) {
    alive.take(event);
    if (begins(event, TrainingPhase::kForward) || begins(event, TrainingPhase::kOptimizerStep)) is_in_loss = false;
    if (begins(event, TrainingPhase::kLoss)) {
      ++pass;
      is_in_loss = true;
    }
    if (!is_in_loss || pass > 1) continue;
    Moments& moments = ends.passes[pass];
    if (moments.kinds.size() == kMostMoments) continue;
    moments.kinds.push_back(event.kind);
    moments.alive.push_back(alive.bytes());
  }
  return ends;
}

Result<PassProfile> PassProfile::of(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware,
                                    bool recomputes, const PassProfile* like) {
  PassProfile profile;
  profile.layers_ = recomputes ? model.architecture.layers : 0;
  settings.steps = 1;
  settings.gradient_accumulation_steps = 2;
  settings.checkpointing.layers = 0;
  if (like != nullptr) {
    profile.none_ = like->none_;
    profile.has_unlike_layers_ = like->has_unlike_layers_;
    profile.parameters_ = like->parameters_;
    profile.trained_parameters_ = like->trained_parameters_;
  } else {
    VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace none, trace_training(model, settings, hardware));
    profile.none_ = ends_of(none);
    profile.has_unlike_layers_ = none.has_unlike_layers;
    profile.parameters_ = none.parameters;
    profile.trained_parameters_ = none.trained_parameters;
  }
  profile.none_without_cache_ = profile.all_ = profile.none_;
  if (recomputes) {
    settings.uses_cache = false;
    VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace none, trace_training(model, settings, hardware));
    profile.none_without_cache_ = ends_of(none);
    settings.checkpointing.layers = kAllLayers;
    VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace all, trace_training(model, settings, hardware));
    profile.all_ = ends_of(all);
  }
  profile.choose_places();
  return profile;
}

void PassProfile::choose_places() {
  for (const int pass : {0, 1}) {
    const Moments &none = none_.passes[pass], &part = none_without_cache_.passes[pass], &all = all_.passes[pass];
    const auto in_common = [&](const Moments& other) {
      return std::ranges::mismatch(none.kinds, other.kinds).in1 - none.kinds.begin();
    };
    const auto common = std::min(in_common(part), in_common(all));
    if (common == 0) continue;
    for (const Moments* each : {&none, &part, &all}) {
      const auto most = std::max_element(each->alive.begin(), each->alive.begin() + common);
      places_[pass].push_back(static_cast<std::size_t>(most - each->alive.begin()));
    }
  }
}

template <typename Read>
double PassProfile::between(int recomputed, const Read& read) const {
  if (recomputed == 0 || layers_ == 0) return read(none_);
  const double part = static_cast<double>(std::min(recomputed, layers_)) / layers_;
  return (1 - part) * read(none_without_cache_) + part * read(all_);
}

tape::Work PassProfile::work_between(int recomputed, tape::Work Ends::* member) const {
  const auto number = [&](auto tape::Work::* field) {
    return between(recomputed, [&](const Ends& ends) { return static_cast<double>(ends.*member.*field); });
  };
  return {.matmul_flops = number(&tape::Work::matmul_flops),
          .occupied_16bit_flops = number(&tape::Work::occupied_16bit_flops),
          .occupied_fp32_flops = number(&tape::Work::occupied_fp32_flops),
          .attention_flops = number(&tape::Work::attention_flops),
          .bytes_moved = static_cast<std::int64_t>(number(&tape::Work::bytes_moved)),
          .kernels = static_cast<std::int64_t>(number(&tape::Work::kernels))};
}

tape::Work PassProfile::first_pass(int recomputed) const { return work_between(recomputed, &Ends::first); }
tape::Work PassProfile::later_pass(int recomputed) const { return work_between(recomputed, &Ends::later); }

double PassProfile::alive_bytes(int recomputed, bool accumulates) const {
  const int pass = accumulates ? 1 : 0;
  double most = 0;
  const int bounded = recomputed > 0 && has_unlike_layers_ ? layers_ : recomputed;
  for (const std::size_t place : places_[pass])
    most = std::max(most, between(bounded, [&](const Ends& ends) { return ends.passes[pass].alive[place]; }));
  return most;
}

Result<UpdateProfile> update_profile(const ModelConfig& model, TrainingSettings settings,
                                     const tape::Hardware& hardware) {
  settings.micro_batch = settings.gradient_accumulation_steps = 1;
  settings.steps = 2;
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, hardware));
  UpdateProfile profile;
  profile.work = trace.step_work - trace.last_pass;
  profile.paged_bytes = static_cast<double>(trace.host_managed_bytes);
  // States are what the first update allocates and keeps.
  std::vector<std::int64_t> born;
  bool is_update = false, was_update = false;
  for (const AllocationEvent& event : trace.events) {
    if (event.kind == EventKind::kMark) {
      was_update = was_update || is_update;
      is_update = !was_update && begins(event, TrainingPhase::kOptimizerStep);
      if (was_update) break;
    }
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= born.size()) born.resize(std::size_t{event.id} + 1);
      born[event.id] = is_update ? event.bytes : 0;
    } else if (event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) {
      born[event.id] = 0;
    }
  }
  for (const std::int64_t bytes : born) profile.state_bytes += static_cast<double>(bytes);
  return profile;
}

}  // namespace vramwise
