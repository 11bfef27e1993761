// See search.h.
#include "plan/training/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "allocator/device_memory.h"
#include "base/units.h"
#include "plan/training/explain.h"
#include "plan/training/fastest.h"
#include "plan/training/judge.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostRunnerUps = 4;
constexpr double kSmallestStep = 0.85;  // of memory, from one runner-up to the next
constexpr std::int64_t kShortestSequence = 32;

Result<TrainingPlan> nothing_fits(const TrainingRequest& request, const TrainingSpace& space, TrainingJudge& judge) {
  std::vector<std::pair<double, TrainingCandidate>> by_bound;
  for (std::size_t option = 0; option < space.options.size(); ++option) {
    if (!judge.is_possible(option)) continue;
    // Whoever asks for the best alone does not show the figure.
    if (request.only_best) return does_not_fit("");
    const TrainingCandidate candidate{
        .option = option, .micro_batch = space.micro_batches.back(), .recomputed = space.recomputed.back()};
    by_bound.emplace_back(judge.least_device_bytes(candidate), candidate);
  }
  if (by_bound.empty()) return judge.error();
  std::ranges::stable_sort(by_bound, {}, &std::pair<double, TrainingCandidate>::first);
  Bytes least = kNoLimit;
  for (const auto& [bound, candidate] : by_bound) {
    if (bound >= static_cast<double>(least.count())) break;
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<Bytes> device, judge.device_within(candidate, least));
    least = std::min(least, device.value_or(least));
  }
  const bool is_counted = least < kNoLimit;
  if (!is_counted) least = Bytes(DeviceMemoryLimits::kUnlimited);
  return does_not_fit(fmt::format("even {} x {} tokens{} takes {}{} of the {} that are usable{}",
                                  space.micro_batches.back(), space.options.front().settings.seq_len,
                                  space.recomputed.back() > 0 ? ", every layer recomputed," : "",
                                  is_counted ? "" : "more than ", format_size(least), format_size(request.usable),
                                  request.cards > 1 ? " of each card" : ""));
}

enum class Wanted : std::uint8_t { kDevice, kEstimate };

/// With what the card then holds: by the estimate, or by a replay of all passes on all ranks.
Status measure(TrainingJudge& judge, Wanted wanted, TrainingChoice& choice) {
  if (wanted == Wanted::kEstimate) {
    VRAMWISE_ASSIGN_OR_RETURN(choice.estimate, judge.estimate(choice.candidate));
    choice.device = choice.estimate.device;
  } else if (!judge.replays_all_passes(choice.candidate)) {
    VRAMWISE_ASSIGN_OR_RETURN(choice.device, judge.device_of_all_passes(choice.candidate));
  }
  return Done{};
}

/// The fastest that takes no more with all of its passes either. One of more passes than an estimate keeps is none, and
/// the error where there is no other.
Result<TrainingChoice> fastest_of_all_passes(FastestSearch& search, TrainingJudge& judge, Bytes usable, Wanted wanted) {
  std::optional<Error> too_long;
  while (true) {
    Result<TrainingChoice> choice = search.fastest(usable);
    if (!choice.ok() && choice.error().code == ErrorCode::kDoesNotFit && too_long) return *too_long;
    if (!choice.ok()) return choice;
    const Status measured = measure(judge, wanted, *choice);
    if (measured.ok() && choice->device <= usable) return choice;
    if (measured.ok()) continue;
    if (measured.error().code != ErrorCode::kUsage) return measured.error();
    too_long = measured.error();
    judge.exclude(choice->candidate);
  }
}

Result<TrainingPlan> search_in(const TrainingRequest& request, const TrainingSpace& space, TrainingJudge& judge) {
  FastestSearch search(space, judge);
  Result<TrainingChoice> best =
      fastest_of_all_passes(search, judge, request.usable, request.only_best ? Wanted::kDevice : Wanted::kEstimate);
  if (!best.ok() && best.error().code == ErrorCode::kDoesNotFit) return nothing_fits(request, space, judge);
  TrainingPlan plan;
  VRAMWISE_ASSIGN_OR_RETURN(plan.best, std::move(best));
  plan.candidates = space.options.size() * space.micro_batches.size() * space.recomputed.size();
  if (!request.only_best) {
    Bytes least = plan.best.device;
    while (plan.runner_ups.size() < kMostRunnerUps) {
      const Bytes usable(static_cast<std::int64_t>(kSmallestStep * static_cast<double>(least.count())));
      const Result<TrainingChoice> row = fastest_of_all_passes(search, judge, usable, Wanted::kDevice);
      if (!row.ok()) break;
      plan.runner_ups.push_back(*row);
      least = row->device;
    }
    explain_training(request, space, judge, plan);
  }
  plan.estimates = judge.replays();
  return plan;
}

TrainingRequest without_short_models(TrainingRequest request) {
  request.shorter.clear();
  return request;
}

/// Whether anything fits: the candidates with all layers recomputed, or all but one, by their bounds.
bool fits_at(const TrainingRequest& request) {
  const Result<TrainingSpace> space = training_space(request);
  if (!space.ok()) return false;
  TrainingJudge judge(request, *space);
  const double usable = static_cast<double>(request.usable.count());
  std::vector<std::pair<double, TrainingCandidate>> by_bound;
  for (std::size_t option = 0; option < space->options.size(); ++option) {
    if (!judge.may_fit(option, request.usable) || !judge.is_possible(option)) continue;
    for (const std::int64_t micro_batch : space->micro_batches) {
      for (const int recomputed : space->recomputed | std::views::reverse | std::views::take(2)) {
        const TrainingCandidate candidate{.option = option, .micro_batch = micro_batch, .recomputed = recomputed};
        const double bound = judge.least_device_bytes(candidate);
        if (bound <= usable) by_bound.emplace_back(bound, candidate);
      }
    }
  }
  std::ranges::stable_sort(by_bound, {}, &std::pair<double, TrainingCandidate>::first);
  const bool fits = std::ranges::any_of(by_bound, [&](const auto& each) {
    const Result<std::optional<Bytes>> device = judge.device_within(each.second, request.usable);
    if (!device.ok() || !device->has_value()) return false;
    if (judge.replays_all_passes(each.second)) return true;
    const Result<Bytes> whole = judge.device_of_all_passes(each.second);
    return whole.ok() && *whole <= request.usable;
  });
  return judge.is_contradicted() ? fits_at(without_short_models(request)) : fits;
}

Result<TrainingPlan> search_at(const TrainingRequest& request) {
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingSpace space, training_space(request));
  TrainingJudge judge(request, space);
  Result<TrainingPlan> plan = search_in(request, space, judge);
  return judge.is_contradicted() ? search_at(without_short_models(request)) : plan;
}

/// Knobs that change what is learnt are turned only where nothing fits without them, one after the other.
TrainingRequest without_objective(const TrainingRequest& request) {
  TrainingRequest careful = request;
  std::erase_if(careful.allowed, [](const std::string& what) {
    const auto knobs = training_knobs();
    return std::any_of(knobs.begin(), knobs.end(), [&](const Knob& knob) {
      return knob.allow != nullptr && what == knob.allow && changes_objective(knob.mathematics);
    });
  });
  return careful;
}

/// With those knobs turned, as little as possible first.
std::vector<TrainingRequest> last_resorts(const TrainingRequest& request) {
  std::vector<TrainingRequest> resorts;
  TrainingRequest changed = without_objective(request);
  if (request.allows("lora")) {
    changed.allowed.emplace_back("lora");
    resorts.push_back(changed);
  }
  while (request.allows("seq_len") && changed.start.settings.seq_len / 2 >= kShortestSequence) {
    changed.start.settings.seq_len /= 2;
    resorts.push_back(changed);
  }
  return resorts;
}

}  // namespace

Result<TrainingPlan> plan_training(const TrainingRequest& request) {
  Result<TrainingPlan> answer = search_at(without_objective(request));
  for (const TrainingRequest& changed : last_resorts(request)) {
    if (answer.ok() || answer.error().code != ErrorCode::kDoesNotFit) break;
    if (Result<TrainingPlan> other = search_at(changed); other.ok()) return other;
  }
  return answer;
}

bool can_train(const TrainingRequest& request) {
  return fits_at(without_objective(request)) || std::ranges::any_of(last_resorts(request), fits_at);
}

}  // namespace vramwise
