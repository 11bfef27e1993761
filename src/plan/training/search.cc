// See search.h.
#include "plan/training/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <utility>

#include "base/units.h"
#include "plan/training/explain.h"
#include "plan/training/judge.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostRunnerUps = 4;
constexpr double kSmallestStep = 0.85;  // of memory, from one runner-up to the next
constexpr std::int64_t kShortestSequence = 32;

struct Entry {
  TrainingCandidate candidate;
  std::size_t size = 0;  ///< index of its micro-batch
  double seconds = 0;
  /// What is known: a micro-batch that was not looked at is no faster than the one before it; a bound on memory; the
  /// replay (it fits, and with fewer recomputed layers it doesn't).
  enum class Known : std::uint8_t { kNothing, kBound, kReplay } known = Known::kNothing;

  bool operator<(const Entry& other) const {  // std::priority_queue has the largest on top
    if (seconds != other.seconds) return seconds > other.seconds;
    return std::pair(candidate.option, size) > std::pair(other.candidate.option, other.size);
  }
};

class Search {
 public:
  Search(const TrainingSpace& space, TrainingJudge& judge) : space_(space), judge_(judge) {}

  /// The fastest with no more memory than that. Errors: kDoesNotFit without text where there is none.
  Result<TrainingChoice> fastest(Bytes usable) {
    std::priority_queue<Entry> queue;
    for (std::size_t option = 0; option < space_.options.size(); ++option)
      if (judge_.is_possible(option)) queue.push({.candidate = {.option = option}});
    while (!queue.empty()) {
      Entry entry = queue.top();
      queue.pop();
      if (entry.known == Entry::Known::kNothing) {
        look_at(entry, usable, queue);
        continue;
      }
      VRAMWISE_ASSIGN_OR_RETURN(const auto fitting, first_that_fits(entry, usable));
      if (!fitting) continue;
      if (fitting->recomputed == entry.candidate.recomputed) {
        VRAMWISE_ASSIGN_OR_RETURN(const TrainingEstimate estimate, judge_.estimate(*fitting));
        return judge_.choice(*fitting, estimate);
      }
      entry.candidate = *fitting;
      entry.seconds = judge_.seconds(*fitting);
      entry.known = Entry::Known::kReplay;
      queue.push(entry);
    }
    return does_not_fit("");
  }

 private:
  /// Puts the entry back with what the bound lets it have, and the next smaller micro-batch behind it.
  void look_at(Entry entry, Bytes usable, std::priority_queue<Entry>& queue) {
    TrainingCandidate candidate = entry.candidate;
    candidate.micro_batch = space_.micro_batches[entry.size];
    if (entry.size + 1 < space_.micro_batches.size()) {
      const double least = judge_.seconds(at(candidate, first(candidate)));
      queue.push({.candidate = candidate, .size = entry.size + 1, .seconds = least});
    }
    const auto start = first_within_bound(candidate, usable);
    if (!start) return;
    queue.push(
        {.candidate = *start, .size = entry.size, .seconds = judge_.seconds(*start), .known = Entry::Known::kBound});
  }

  /// Where no layer is recomputed, it does not matter of what.
  std::size_t first(const TrainingCandidate& candidate) const {
    const bool is_selective = space_.options[candidate.option].settings.checkpointing.is_selective;
    return is_selective && space_.recomputed.front() == 0 && last() > 0 ? 1 : 0;
  }
  std::size_t last() const { return space_.recomputed.size() - 1; }

  TrainingCandidate at(TrainingCandidate candidate, std::size_t index) const {
    candidate.recomputed = space_.recomputed[index];
    return candidate;
  }

  /// The least index in [from, last] of which `fits` is true, where it is false for all before: by bisection.
  template <typename Fits>
  std::optional<std::size_t> first_index(std::size_t from, const Fits& fits) const {
    std::size_t low = from, high = space_.recomputed.size();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (fits(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low < space_.recomputed.size() ? std::optional(low) : std::nullopt;
  }

  std::optional<TrainingCandidate> first_within_bound(const TrainingCandidate& candidate, Bytes usable) {
    const double most = static_cast<double>(usable.count());
    const auto index = first_index(first(candidate),
                                   [&](std::size_t i) { return judge_.least_device_bytes(at(candidate, i)) <= most; });
    return index ? std::optional(at(candidate, *index)) : std::nullopt;
  }

  /// With as few more recomputed layers as the replay asks for. The first guess goes by what a layer saves at least.
  Result<std::optional<TrainingCandidate>> first_that_fits(const Entry& entry, Bytes usable) {
    using Found = std::optional<TrainingCandidate>;
    if (entry.known == Entry::Known::kReplay) return Found(entry.candidate);
    Error error;
    bool failed = false;
    const auto device = [&](std::size_t i) {
      const Result<TrainingEstimate> estimate = judge_.estimate(at(entry.candidate, i));
      if (estimate.ok()) return estimate->device;
      failed = true;
      error = estimate.error();
      return Bytes(std::numeric_limits<std::int64_t>::max());
    };
    std::size_t from = static_cast<std::size_t>(
        std::lower_bound(space_.recomputed.begin(), space_.recomputed.end(), entry.candidate.recomputed) -
        space_.recomputed.begin());
    std::size_t to = last();
    for (std::size_t guess = from; !failed;) {
      const Bytes taken = device(guess);
      if (failed) break;
      if (taken <= usable) {
        to = guess;
        break;
      }
      from = guess + 1;
      if (guess == last()) return Found();
      const double here = judge_.least_device_bytes(at(entry.candidate, guess));
      const double saved = here - judge_.least_device_bytes(at(entry.candidate, guess + 1));
      const double missing = static_cast<double>((taken - usable).count());
      const double steps = saved > 0 ? std::ceil(missing / saved) : 1;
      guess = std::min(last(), guess + static_cast<std::size_t>(std::clamp(steps, 1.0, 1e6)));
    }
    if (failed) return error;
    // Between the last that did not fit and the first that did.
    while (from < to && !failed) {
      const std::size_t middle = from + (to - from) / 2;
      if (device(middle) <= usable) {
        to = middle;
      } else {
        from = middle + 1;
      }
    }
    if (failed) return error;
    return Found(at(entry.candidate, to));
  }

  const TrainingSpace& space_;
  TrainingJudge& judge_;
};

Error nothing_fits(const TrainingRequest& request, const TrainingSpace& space, TrainingJudge& judge) {
  std::vector<std::pair<double, TrainingCandidate>> by_bound;
  for (std::size_t option = 0; option < space.options.size(); ++option) {
    if (!judge.is_possible(option)) continue;
    const TrainingCandidate candidate{
        .option = option, .micro_batch = space.micro_batches.back(), .recomputed = space.recomputed.back()};
    by_bound.emplace_back(judge.least_device_bytes(candidate), candidate);
  }
  if (by_bound.empty()) return judge.error();
  std::ranges::stable_sort(by_bound, {}, &std::pair<double, TrainingCandidate>::first);
  std::optional<Bytes> least;
  for (const auto& [bound, candidate] : by_bound) {
    // Whoever asks for the best alone does not show the figure.
    if (least && (request.only_best || bound >= static_cast<double>(least->count()))) break;
    const Result<TrainingEstimate> estimate = judge.estimate(candidate);
    if (!estimate.ok()) return estimate.error();
    least = least ? std::min(*least, estimate->device) : estimate->device;
  }
  return does_not_fit(fmt::format("even {} x {} tokens{} takes {} of the {} that are usable{}",
                                  space.micro_batches.back(), space.options.front().settings.seq_len,
                                  space.recomputed.back() > 0 ? ", every layer recomputed," : "", format_size(*least),
                                  format_size(request.usable), request.cards > 1 ? " of each card" : ""));
}

Result<TrainingPlan> search_at(const TrainingRequest& request) {
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingSpace space, training_space(request));
  TrainingJudge judge(request, space);
  Search search(space, judge);
  Result<TrainingChoice> best = search.fastest(request.usable);
  if (!best.ok() && best.error().code == ErrorCode::kDoesNotFit) return nothing_fits(request, space, judge);
  TrainingPlan plan;
  VRAMWISE_ASSIGN_OR_RETURN(plan.best, std::move(best));
  for (Bytes least = plan.best.estimate.device; !request.only_best && plan.runner_ups.size() < kMostRunnerUps;) {
    const Bytes usable(static_cast<std::int64_t>(kSmallestStep * static_cast<double>(least.count())));
    const Result<TrainingChoice> row = search.fastest(usable);
    if (!row.ok()) break;
    plan.runner_ups.push_back(*row);
    least = row->estimate.device;
  }
  plan.candidates = space.options.size() * space.micro_batches.size() * space.recomputed.size();
  if (!request.only_best) explain_training(request, space, judge, plan);
  plan.estimates = judge.estimates();
  return plan;
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

}  // namespace

Result<TrainingPlan> plan_training(const TrainingRequest& request) {
  TrainingRequest asked = without_objective(request);
  const Result<TrainingPlan> plan = search_at(asked);
  if (plan.ok() || plan.error().code != ErrorCode::kDoesNotFit) return plan;
  if (request.allows("lora")) {
    asked.allowed.emplace_back("lora");
    if (Result<TrainingPlan> other = search_at(asked); other.ok()) return other;
  }
  while (request.allows("seq_len") && asked.start.settings.seq_len / 2 >= kShortestSequence) {
    asked.start.settings.seq_len /= 2;
    if (Result<TrainingPlan> other = search_at(asked); other.ok()) return other;
  }
  return plan;
}

}  // namespace vramwise
