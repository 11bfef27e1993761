// The space is small and an estimate takes milliseconds, so everything is tried.
#include "plan/training_search.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "cost/work_time.h"
#include "plan/search/space.h"

namespace vramwise {
namespace {

constexpr double kSmallestStep = 0.95;  // of memory, from one runner-up to the next
// The host's work for one kernel out of Python: the middle of the range that device_rates.h names.
constexpr double kPythonLaunch = 10e-6;

Precision computed_in(TrainingPrecision precision) {
  return precision == TrainingPrecision::kFp32 ? Precision::kFp32 : Precision::kBf16;
}

}  // namespace

double TrainingChoice::tokens_per_s() const {
  const double sequences =
      static_cast<double>(settings.micro_batch) * static_cast<double>(settings.gradient_accumulation_steps);
  return seconds > 0 ? sequences * static_cast<double>(settings.seq_len) / seconds : 0;
}

Result<TrainingPlan> plan_training(const TrainingRequest& request) {
  DeviceRates rates = request.rates;
  rates.launch_s = std::max(rates.launch_s, kPythonLaunch);
  std::vector<TrainingChoice> choices;
  TrainingPlan plan;
  for (const int recomputed : {0, kAllLayers}) {
    if (recomputed != request.settings.checkpointing.layers && !request.may_recompute) continue;
    for (const std::int64_t passes : pass_counts(request.sequences)) {
      // transformers' trainer has equal passes only.
      if (request.sequences % passes != 0) continue;
      TrainingChoice choice{.settings = request.settings, .estimate = {}, .seconds = 0};
      choice.settings.checkpointing.layers = recomputed;
      choice.settings.micro_batch = request.sequences / passes;
      choice.settings.gradient_accumulation_steps = passes;
      TrainingCard card = request.card;
      card.total.reset();
      VRAMWISE_ASSIGN_OR_RETURN(choice.estimate, estimate_training(request.model, choice.settings, card));
      ++plan.estimates;
      choice.seconds = seconds_of(choice.estimate.step_work, rates, computed_in(request.settings.precision));
      choices.push_back(std::move(choice));
    }
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const TrainingChoice& a, const TrainingChoice& b) { return a.seconds < b.seconds; });
  const TrainingChoice* best = nullptr;
  Bytes least;
  for (const TrainingChoice& choice : choices) {
    if (choice.estimate.device > request.usable) continue;
    if (best == nullptr) {
      best = &choice;
      plan.best = choice;
      least = choice.estimate.device;
    } else if (choice.estimate.device.in_mib() < kSmallestStep * least.in_mib()) {
      plan.runner_ups.push_back(choice);
      least = choice.estimate.device;
    }
  }
  if (best != nullptr) return plan;
  const auto smallest = std::min_element(
      choices.begin(), choices.end(),
      [](const TrainingChoice& a, const TrainingChoice& b) { return a.estimate.device < b.estimate.device; });
  return does_not_fit(
      fmt::format("even {} x {} tokens{} takes {} of the {} that are usable", smallest->settings.micro_batch,
                  smallest->settings.seq_len,
                  smallest->settings.checkpointing.is_on() ? ", every layer recomputed," : "",
                  format_size(smallest->estimate.device), format_size(request.usable)),
      "LoRA (--lora_rank), a shorter --seq_len or another card: `vramwise estimate` shows what each takes.");
}

}  // namespace vramwise
