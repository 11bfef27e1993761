// See search.h.
#include "plan/training/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <queue>
#include <ranges>
#include <tuple>
#include <utility>

#include "allocator/device_memory.h"
#include "base/units.h"
#include "plan/training/explain.h"
#include "plan/training/judge.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostRunnerUps = 4;
constexpr double kSmallestStep = 0.85;  // of memory, from one runner-up to the next
constexpr std::int64_t kShortestSequence = 32;
constexpr std::int64_t kLookBeyond = 8;  // part of what is usable

/// A micro-batch of an option, with any number of recomputed layers: more of them never take less time, nor, as long as
/// one is not recomputed, more memory. (Of all layers the last is recomputed too, and the allocator may lose more.)
struct Line {
  TrainingCandidate candidate;
  std::size_t size = 0;  ///< index of its micro-batch
  double seconds = 0;    ///< at least
  double hoped = 0;      ///< of the fewest layers that are expected to fit
  bool is_seen = false;  ///< its own times and bounds are known
  std::size_t from = 0;  ///< fewer do not fit (as an index into the space's numbers)
  std::size_t next = 0;  ///< what is to be tried, as long as nothing fits

  bool is_asked_later = false;  ///< than others of the same seconds

  // In the order in which ties are broken.
  std::tuple<double, std::size_t, std::size_t, std::size_t> rank() const {
    return {seconds, candidate.option, size, from};
  }
  // In which they are asked. std::priority_queue has the largest on top.
  bool operator<(const Line& other) const {
    return std::tuple(hoped, is_asked_later, rank()) > std::tuple(other.hoped, other.is_asked_later, other.rank());
  }
};

/// The best so far.
struct Found {
  Line line;  ///< its `from` is what fits
  Bytes device{};
};

class Search {
 public:
  Search(const TrainingSpace& space, TrainingJudge& judge) : space_(space), judge_(judge) {}

  /// The fastest with no more memory than that. Errors: kDoesNotFit without text where there is none.
  Result<TrainingChoice> fastest(Bytes usable) {
    usable_ = usable;
    best_.reset();
    lines_ = {};
    // Those first that lose less memory, so that of others no more is asked than the numbers of layers with which they
    // would come before.
    const bool prefers_expandable = last_excess_[1].value_or(0) <= last_excess_[0].value_or(0);
    for (std::size_t option = 0; option < space_.options.size(); ++option) {
      if (!judge_.may_fit(option, usable) || !judge_.is_possible(option)) continue;
      for (std::size_t size = 0; size < space_.micro_batches.size(); ++size) {
        if (judge_.is_excluded(space_.micro_batches[size])) continue;
        Line line{.candidate = {.option = option, .micro_batch = space_.micro_batches[size]}, .size = size};
        line.is_asked_later = has_expandable_segments(line) != prefers_expandable;
        line.seconds = line.hoped = least_seconds(line);
        lines_.push(line);
      }
    }
    while (!lines_.empty()) {
      Line line = lines_.top();
      lines_.pop();
      if (best_ && line.rank() >= best_->line.rank()) continue;
      if (!line.is_seen) {
        look_at(line);
      } else if (const double hoped = hoped_seconds(line); hoped > line.hoped) {
        line.hoped = hoped;
        lines_.push(line);
      } else {
        VRAMWISE_RETURN_IF_ERROR(try_one(line));
      }
    }
    if (!best_) return does_not_fit("");
    return judge_.choice(at(best_->line.candidate, best_->line.from), best_->device);
  }

 private:
  /// A bound from what is known of larger micro-batches. Of passes of m sequences as many as m goes into n replace one
  /// of n, and none of its kernels: each is run as often, on a part of the rows. A kernel on all rows takes no more
  /// than those on its parts together, since neither its bytes nor the tiles that its result is cut into are more, and
  /// the gaps between kernels come once. Where m does not divide n, tiles may be cut more luckily, and nothing is said.
  double least_seconds(const Line& line) {
    double least = 0;
    for (std::size_t size = 0; size < line.size; ++size) {
      TrainingCandidate larger = line.candidate;
      larger.micro_batch = space_.micro_batches[size];
      const auto seen = seen_.find({larger.option, size});
      if (seen != seen_.end() && larger.micro_batch % line.candidate.micro_batch == 0)
        least = std::max(least, seen->second);
    }
    return least;
  }

  /// Puts the line back with what its bounds let it have.
  void look_at(Line line) {
    const double least = least_seconds(line);
    if (least > line.seconds) {
      line.seconds = line.hoped = least;
      return lines_.push(line);
    }
    seen_.try_emplace({line.candidate.option, line.size}, judge_.seconds(at(line.candidate, first(line.candidate))));
    const double most = static_cast<double>(usable_.count());
    const auto start = first_index(first(line.candidate), [&](std::size_t index) {
      return judge_.least_device_bytes(at(line.candidate, index)) <= most;
    });
    if (!start) return;
    line.is_seen = true;
    line.next = *start;
    push_from(line, *start);
  }

  Line at_index(Line line, std::size_t index) {
    line.from = index;
    line.next = std::max(line.next, index);
    line.seconds = judge_.seconds(at(line.candidate, index));
    line.hoped = hoped_seconds(line);
    return line;
  }
  void push_from(const Line& line, std::size_t from) {
    if (from <= last()) lines_.push(at_index(line, from));
  }

  /// Replays one number of layers. What is not faster than the best so far is not of interest.
  Status try_one(Line line) {
    const bool is_best =
        best_ && best_->line.candidate.option == line.candidate.option && best_->line.size == line.size;
    std::size_t index = last_but_all(line.next);
    index = std::min(index, best_ ? last_before(line, best_->line) : hopeful(line).value_or(last()));
    if (is_best) index = below_best(line);
    const TrainingCandidate candidate = at(line.candidate, index);
    // How much is missing tells where to look next, as long as there is nothing to compare with.
    const bool looks_beyond = !best_ && !judge_.is_refused(candidate, usable_);
    const Bytes limit = looks_beyond ? usable_ + Bytes(usable_.count() / kLookBeyond) : usable_;
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<Bytes> device, judge_.device_within(candidate, limit));
    if (index < last() || last() == 0)
      learn_excess(line, static_cast<double>(device.value_or(limit).count()) - judge_.told_bytes(candidate),
                   device.has_value());
    if (device && *device <= usable_) {
      best_ = Found{.line = at_index(line, index), .device = *device};
      line.next = line.from;
      if (index > line.from) push_from(line, line.from);
      return Done{};
    }
    if (is_best) {
      if (index + 1 < best_->line.from) push_from(line, index + 1);
      return Done{};
    }
    if (index == last()) return Done{};
    line.next = index + 1;
    if (best_) {
      push_from(line, index + 1);
      return Done{};
    }
    line.next = std::min(index + steps_for(line, index, device.value_or(limit) - usable_), last_but_all(index + 1));
    return try_one(at_index(line, index + 1));  // until there is something to compare with
  }

  /// What a replay took beyond its bound. It hangs little on the number of layers, as long as not all are recomputed.
  void learn_excess(const Line& line, double excess, bool is_exact) {
    double& known = excess_[{line.candidate.option, line.size}];
    known = is_exact ? excess : std::max(known, excess);
    if (is_exact) last_excess_[has_expandable_segments(line) ? 1 : 0] = excess;
  }
  double expected_excess(const Line& line) const {
    const auto own = excess_.find({line.candidate.option, line.size});
    if (own != excess_.end()) return own->second;
    const std::size_t kind = has_expandable_segments(line) ? 1 : 0;
    return last_excess_[kind].value_or(last_excess_[1 - kind].value_or(0));
  }

  /// The fewest layers from `next` on that fit if the allocator loses as much as it last did.
  std::optional<std::size_t> hopeful(const Line& line) {
    const double hoped = static_cast<double>(usable_.count()) - expected_excess(line);
    return first_index(line.next,
                       [&](std::size_t index) { return judge_.told_bytes(at(line.candidate, index)) <= hoped; });
  }
  double hoped_seconds(const Line& line) {
    const std::optional<std::size_t> index = hopeful(line);
    return index ? judge_.seconds(at(line.candidate, *index)) : std::numeric_limits<double>::infinity();
  }
  /// All layers are tried only where nothing else is left.
  std::size_t last_but_all(std::size_t from) const { return std::max(from, last() > 0 ? last() - 1 : 0); }

  /// So many layers more save that much; at least one.
  std::size_t steps_for(const Line& line, std::size_t index, Bytes missing) {
    if (index >= last()) return 1;
    const double saved = judge_.layer_bytes(at(line.candidate, index), at(line.candidate, index + 1));
    const double steps = saved > 0 ? std::ceil(static_cast<double>(missing.count()) / saved) : 1;
    return static_cast<std::size_t>(std::clamp(steps, 1.0, 1e6));
  }

  /// The best is of this line: as many fewer as the room that it leaves lets hope for.
  std::size_t below_best(const Line& line) {
    const std::size_t here = best_->line.from;
    const std::size_t hoped = steps_for(line, here - 1, usable_ - best_->device + Bytes(1)) - 1;
    const std::size_t guess = here - std::min(here, std::max<std::size_t>(1, hoped));
    return guess >= line.from ? guess : line.from + (here - 1 - line.from) / 2;
  }

  /// The most layers with which the line still comes before `other`; it does with `from`.
  std::size_t last_before(const Line& line, const Line& other) {
    const auto behind =
        first_index(line.from, [&](std::size_t index) { return at_index(line, index).rank() >= other.rank(); });
    return behind ? *behind - 1 : last();
  }

  bool has_expandable_segments(const Line& line) const {
    return space_.options[line.candidate.option].allocator.expandable_segments;
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

  /// The least index in [from, last] of which `fits` is true, where it is false for all before: by bisection. All
  /// layers are asked for by themselves.
  template <typename Fits>
  std::optional<std::size_t> first_index(std::size_t from, const Fits& fits) const {
    std::size_t low = from, high = last();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (fits(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low < last() || fits(low) ? std::optional(low) : std::nullopt;
  }

  const TrainingSpace& space_;
  TrainingJudge& judge_;
  std::map<std::pair<std::size_t, std::size_t>, double> seen_;  ///< seconds by option and size, of the fewest layers
  Bytes usable_;
  std::priority_queue<Line> lines_;
  std::optional<Found> best_;
  std::map<std::pair<std::size_t, std::size_t>, double> excess_;
  std::optional<double> last_excess_[2];  ///< of the last replay; with expandable segments the second
};

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
Result<TrainingChoice> fastest_of_all_passes(Search& search, TrainingJudge& judge, Bytes usable, Wanted wanted) {
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
  Search search(space, judge);
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
