// See profile.h.
#include "plan/training/profile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace vramwise {
namespace {

/// Walks over a trace's events and knows what is alive.
class Alive {
 public:
  /// How many bytes come or go.
  std::int64_t take(const AllocationEvent& event) {
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= bytes_.size()) bytes_.resize(std::size_t{event.id} + 1);
      bytes_[event.id] = event.bytes;
      sum_ += static_cast<double>(event.bytes);
      return event.bytes;
    }
    if (event.kind != EventKind::kFree && event.kind != EventKind::kFreeLater) return 0;
    sum_ -= static_cast<double>(bytes_[event.id]);
    return bytes_[event.id];
  }
  double bytes() const { return sum_; }

 private:
  std::vector<std::int64_t> bytes_;
  double sum_ = 0;
};

/// What a pass allocates and does not release.
class Newcomers {
 public:
  void see(const AllocationEvent& event, std::size_t moment) {
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= all_.size()) all_.resize(std::size_t{event.id} + 1);
      all_[event.id] = {.moment = moment, .bytes = event.bytes};
    } else if ((event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) && event.id < all_.size()) {
      all_[event.id] = {};
    }
  }
  /// Bytes at each of so many moments; then nobody is new.
  std::vector<double> take(std::size_t moments) {
    std::vector<double> bytes(moments);
    for (const Newcomer& each : all_)
      if (each.moment < moments) bytes[each.moment] += static_cast<double>(each.bytes);
    std::partial_sum(bytes.begin(), bytes.end(), bytes.begin());
    all_.clear();
    return bytes;
  }

 private:
  struct Newcomer {
    std::size_t moment = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Newcomer> all_;  ///< by id
};

/// By event: where the workspaces of cuBLAS come. Others may have borne their names before.
std::vector<bool> births_of_workspaces(const TrainingTrace& trace) {
  std::vector<bool> births(trace.events.size());
  std::vector<AllocationId> wanted = trace.workspaces;
  for (std::size_t i = trace.events.size(); i-- > 0 && !wanted.empty();) {
    if (trace.events[i].kind == EventKind::kAllocate) births[i] = std::erase(wanted, trace.events[i].id) > 0;
  }
  return births;
}

bool begins(const AllocationEvent& event, TrainingPhase phase) {
  return event.kind == EventKind::kMark && event.id == static_cast<std::uint32_t>(phase);
}

// Whoever recomputes differs from whoever doesn't a little later.
constexpr std::size_t kMostMoments = 512;

double number(std::int64_t value) { return static_cast<double>(value); }

tape::Work sum_of(const tape::Work& a, const tape::Work& b) {
  tape::Work sum = a;
  sum += b;
  return sum;
}

/// `read` gives a member of any work its number. Whole numbers out of sums of fractions are off by a rounding error.
template <typename Read>
tape::Work each_number(const Read& read) {
  return {.matmul_flops = read(&tape::Work::matmul_flops),
          .occupied_16bit_flops = read(&tape::Work::occupied_16bit_flops),
          .occupied_fp32_flops = read(&tape::Work::occupied_fp32_flops),
          .attention_flops = read(&tape::Work::attention_flops),
          .bytes_moved = std::llround(read(&tape::Work::bytes_moved)),
          .kernels = std::llround(read(&tape::Work::kernels))};
}

}  // namespace

PassProfile::Run PassProfile::run_of(const TrainingTrace& trace) {
  Run run{.first = trace.first_pass,
          .later = trace.last_pass,
          .passes = {},
          .late_workspaces = 0,
          .parameters = number(trace.parameters),
          .trained_parameters = number(trace.trained_parameters)};
  Alive alive;
  Newcomers newcomers;
  const std::vector<bool> workspaces = births_of_workspaces(trace);
  int pass = -1;
  bool is_in_loss = false;
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const AllocationEvent& event = trace.events[i];
    const std::int64_t bytes = alive.take(event);
    const bool ends = begins(event, TrainingPhase::kForward) || begins(event, TrainingPhase::kOptimizerStep);
    if (ends && is_in_loss && pass <= 1) run.passes[pass].kept = newcomers.take(run.passes[pass].events.size());
    if (ends) is_in_loss = false;
    if (begins(event, TrainingPhase::kLoss)) {
      ++pass;
      is_in_loss = true;
    }
    const bool is_workspace = workspaces[i] && pass >= 0;
    if (is_workspace) run.late_workspaces += number(bytes);
    if (!is_in_loss || pass > 1) continue;
    Moments& moments = run.passes[pass];
    if (begins(event, TrainingPhase::kBackward)) moments.backward = moments.events.size();
    if (!is_workspace) newcomers.see(event, moments.events.size());
    if (moments.events.size() == kMostMoments) continue;
    moments.events.emplace_back(event.kind, bytes);
    moments.alive.push_back(alive.bytes());
  }
  return run;
}

Status PassProfile::add(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware,
                        int recomputed, bool looks_at_later) {
  settings.steps = 1;
  settings.updates = false;
  settings.gradient_accumulation_steps = looks_at_later ? 2 : 1;
  settings.checkpointing.layers = recomputed == model.architecture.layers ? kAllLayers : recomputed;
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, hardware));
  has_unlike_layers_ = has_unlike_layers_ || trace.has_unlike_layers;
  runs_.push_back(run_of(trace));
  return Done{};
}

Result<PassProfile> PassProfile::of(const ModelLengths& model, const TrainingSettings& settings,
                                    const tape::Hardware& hardware, bool recomputes, const Accumulation* accumulation) {
  PassProfile profile;
  profile.layers_ = model.layers();
  profile.is_of_whole_ = !model.are_told();
  if (accumulation != nullptr) profile.accumulation_ = *accumulation;
  const bool looks = accumulation == nullptr;
  const auto add = [&](const ModelConfig& each, int recomputed, bool uses_cache) {
    TrainingSettings changed = settings;
    changed.uses_cache = settings.uses_cache && uses_cache;
    return profile.add(each, changed, hardware, recomputed, looks);
  };
  if (profile.is_of_whole_) {
    VRAMWISE_RETURN_IF_ERROR(add(model.whole, 0, !recomputes));
    if (recomputes) VRAMWISE_RETURN_IF_ERROR(add(model.whole, kAllLayers, false));
  } else {
    VRAMWISE_RETURN_IF_ERROR(add(model.shorter[0], recomputes ? 1 : 0, true));
    VRAMWISE_RETURN_IF_ERROR(add(model.shorter[1], recomputes ? 1 : 0, true));
    if (recomputes) VRAMWISE_RETURN_IF_ERROR(add(model.shorter[1], 2, true));
  }
  profile.find_common_moments();
  return profile;
}

void PassProfile::find_common_moments() {
  for (const int pass : {0, 1}) {
    const auto& first = runs_.front().passes[pass].events;
    common_[pass] = first.size();
    for (const Run& run : runs_) {
      const auto place = std::ranges::mismatch(first, run.passes[pass].events).in1;
      common_[pass] = std::min(common_[pass], static_cast<std::size_t>(place - first.begin()));
    }
  }
}

// Of the whole model: without and with all. Of short ones: one layer; another that is not recomputed; another that is.
PassProfile::Weights PassProfile::weights(int recomputed) const {
  const double all = layers_, again = std::min(recomputed, layers_);
  if (runs_.size() == 1) return {1};
  if (is_of_whole_) return {1 - again / all, again / all};
  if (runs_.size() == 2) return {2 - all, all - 1};
  return {2 - all, all - again, again - 1};
}

template <typename Read>
double PassProfile::sum(const Weights& weights, const Read& read) const {
  double sum = 0;
  for (std::size_t i = 0; i < runs_.size(); ++i) sum += weights[i] * read(runs_[i]);
  return sum;
}

tape::Work PassProfile::work(int recomputed, tape::Work Run::* member) const {
  const Weights of = weights(recomputed);
  return each_number([&](auto tape::Work::* field) {
    return sum(of, [&](const Run& run) { return static_cast<double>(run.*member.*field); });
  });
}

tape::Work PassProfile::first_pass(int recomputed) const { return work(recomputed, &Run::first); }
tape::Work PassProfile::later_pass(int recomputed) const {
  return accumulation_ ? sum_of(first_pass(recomputed), accumulation_->work) : work(recomputed, &Run::later);
}

double PassProfile::alive_bytes(int recomputed, bool accumulates) const {
  // A later pass told by the first: all gradients are there from its begin, so those that the first makes do not count.
  const bool is_told = accumulates && accumulation_;
  const int pass = accumulates && !accumulation_ ? 1 : 0;
  // Where layers are unlike, all of them bound every number.
  const Weights of = weights(recomputed > 0 && has_unlike_layers_ ? layers_ : recomputed);
  double most = 0;
  for (std::size_t i = 0; i < common_[pass]; ++i) {
    most = std::max(most, sum(of, [&](const Run& run) {
                      const Moments& moments = run.passes[pass];
                      return moments.alive[i] - (is_told ? moments.kept[i] : 0);
                    }));
  }
  return most + (is_told ? accumulation_->alive_bytes : 0);
}

// The buckets come once the first gradient has gone to its parameter, that is after all that its operator held is let
// go. At the third they are there: no operator has more than two, and those of a tied embedding that wait for others do
// not stay.
double PassProfile::alive_without_gradients(int recomputed, double bucket_bytes) const {
  const Weights of = weights(recomputed > 0 && has_unlike_layers_ ? layers_ : recomputed);
  double most = 0, least_at_first = std::numeric_limits<double>::infinity();
  int gradients = 0;
  for (std::size_t i = 0; i < common_[0]; ++i) {
    // What comes to stay in the backward pass is a gradient.
    gradients += std::ranges::all_of(runs_, [i](const Run& run) {
      const Moments& moments = run.passes[0];
      return i > moments.backward && moments.kept[i] > moments.kept[i - 1];
    });
    const double alive = sum(of, [i](const Run& run) { return run.passes[0].alive[i] - run.passes[0].kept[i]; });
    most = std::max(most, alive + (gradients > 2 ? bucket_bytes : 0));
    if (gradients > 0 && gradients < 3) least_at_first = std::min(least_at_first, alive);
  }
  return gradients == 0 ? most : std::max(most, least_at_first + bucket_bytes);
}

Accumulation PassProfile::accumulation() const {
  return {.work = later_pass(0) - first_pass(0), .alive_bytes = sum(weights(0), [](const Run& run) {
                                                   return run.passes[1].alive.front() - run.passes[0].alive.front() -
                                                          run.late_workspaces;
                                                 })};
}

std::int64_t PassProfile::parameters() const {
  return std::llround(sum(weights(1), [](const Run& run) { return run.parameters; }));
}
std::int64_t PassProfile::trained_parameters() const {
  return std::llround(sum(weights(1), [](const Run& run) { return run.trained_parameters; }));
}

namespace {

Result<UpdateProfile> one_update(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware) {
  settings.micro_batch = settings.gradient_accumulation_steps = 1;
  settings.steps = 2;
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, hardware));
  UpdateProfile profile;
  profile.work = trace.step_work - trace.last_pass;
  profile.paged_bytes = number(trace.host_managed_bytes);
  // States are what the first update allocates and keeps.
  std::vector<std::int64_t> born;
  Alive alive;
  int updates = 0;
  bool is_update = false;
  for (const AllocationEvent& event : trace.events) {
    alive.take(event);
    if (event.kind == EventKind::kMark) {
      is_update = begins(event, TrainingPhase::kOptimizerStep);
      updates += is_update ? 1 : 0;
    }
    if (is_update && updates == 2) profile.alive_bytes = std::max(profile.alive_bytes, alive.bytes());
    if (updates == 2 || (updates == 1 && !is_update)) continue;
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= born.size()) born.resize(std::size_t{event.id} + 1);
      born[event.id] = is_update ? event.bytes : 0;
    } else if (event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) {
      born[event.id] = 0;
    }
  }
  for (const std::int64_t bytes : born) profile.state_bytes += number(bytes);
  return profile;
}

}  // namespace

// The most that is alive is the largest of sums that each grow evenly with the layers: it grows no slower from the
// second layer on than from the first to the second.
Result<UpdateProfile> update_profile(const ModelLengths& model, const TrainingSettings& settings,
                                     const tape::Hardware& hardware) {
  if (!model.are_told()) return one_update(model.whole, settings, hardware);
  VRAMWISE_ASSIGN_OR_RETURN(const UpdateProfile one, one_update(model.shorter[0], settings, hardware));
  VRAMWISE_ASSIGN_OR_RETURN(const UpdateProfile two, one_update(model.shorter[1], settings, hardware));
  const double more = model.layers() - 2;
  const auto prolonged = [&](double UpdateProfile::* member) {
    return two.*member + more * (two.*member - one.*member);
  };
  return UpdateProfile{.work = each_number([&](auto tape::Work::* field) {
                         const auto at_two = static_cast<double>(two.work.*field);
                         return at_two + more * (at_two - static_cast<double>(one.work.*field));
                       }),
                       .state_bytes = prolonged(&UpdateProfile::state_bytes),
                       .alive_bytes = prolonged(&UpdateProfile::alive_bytes),
                       .paged_bytes = prolonged(&UpdateProfile::paged_bytes)};
}

}  // namespace vramwise
