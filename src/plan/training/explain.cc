// See explain.h.
#include "plan/training/explain.h"

#include <fmt/format.h>

#include "plan/training/words.h"

namespace vramwise {
namespace {

/// The option with another value of that knob, all else the same; none where the space has it not.
std::optional<std::size_t> with_value(const TrainingSpace& space, std::size_t option, const Knob& knob,
                                      const KnobValue& value) {
  for (std::size_t i = 0; i < space.options.size(); ++i) {
    bool is_wanted = value.holds(space.options[i]);
    for (const Knob& other : training_knobs())
      if (&other != &knob && value_of(other, space.options[i]) != value_of(other, space.options[option]))
        is_wanted = false;
    if (is_wanted) return i;
  }
  return std::nullopt;
}

class Decisions {
 public:
  Decisions(const TrainingRequest& request, TrainingJudge& judge, TrainingPlan& plan)
      : request_(request), judge_(judge), plan_(plan) {}

  void add(const char* knob, std::string value, Mathematics mathematics, const TrainingCandidate& without) {
    const Result<Bytes> device = device_of(without);
    if (!device.ok()) return;
    plan_.decisions.push_back({.knob = knob,
                               .value = std::move(value),
                               .mathematics = mathematics,
                               .saved = *device - plan_.best.device,
                               .slowdown = plan_.best.seconds / judge_.seconds(without) - 1,
                               .fits_without = *device <= request_.usable});
  }

 private:
  /// By the measure of the plan itself: all passes, and the rank that takes the most.
  Result<Bytes> device_of(const TrainingCandidate& candidate) {
    if (!judge_.replays_all_passes(candidate)) return judge_.device_of_all_passes(candidate);
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<Bytes> device, judge_.device_within(candidate, kNoLimit));
    return device.value_or(kNoLimit);
  }

  const TrainingRequest& request_;
  TrainingJudge& judge_;
  TrainingPlan& plan_;
};

}  // namespace

void explain_training(const TrainingRequest& request, const TrainingSpace& space, TrainingJudge& judge,
                      TrainingPlan& plan) {
  const TrainingCandidate best = plan.best.candidate;
  Decisions decisions(request, judge, plan);
  TrainingCandidate without = best;
  const std::int64_t passes = space.sequences / best.micro_batch;
  if (best.micro_batch < space.micro_batches.front()) {
    without.micro_batch = space.micro_batches.front();
    decisions.add("micro_batch", fmt::format("{} x {}", best.micro_batch, passes), Mathematics::kRounding, without);
  }
  without = best;
  if (best.recomputed > space.recomputed.front()) {
    without.recomputed = space.recomputed.front();
    const int layers = request.model.architecture.layers;
    decisions.add(
        "checkpointing",
        best.recomputed == layers ? "every layer" : fmt::format("the first {} of {}", best.recomputed, layers),
        Mathematics::kSame, without);
  }
  const TrainingConfiguration& chosen = space.options[best.option];
  for (const Knob& knob : training_knobs()) {
    const KnobValue* value = value_of(knob, chosen);
    const KnobValue* plain = value_of(knob, space.options.front());
    if (value == nullptr || plain == nullptr || value == plain) continue;
    without = best;
    const auto option = with_value(space, best.option, knob, *plain);
    if (!option || !judge.is_possible(*option)) continue;
    without.option = *option;
    decisions.add(knob.name, value->name, value->mathematics, without);
  }
}

}  // namespace vramwise
