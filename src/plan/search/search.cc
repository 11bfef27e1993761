// See search.h.
#include "plan/search/search.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace vramwise {
namespace {

// What the safest strategy may cost, as part of the fastest one's tokens a second.
constexpr double kLeastSpeed = 0.9;
constexpr std::int64_t kShortestSequence = 32;

Candidate candidate_of(const Choice& choice, PlanRequest& request) {
  std::vector<std::int64_t>& sequences = request.sequences;
  Candidate candidate{.step = choice.step_of(0), .micro_batches = {}, .knobs = choice.knobs};
  candidate.step.gradient_accumulation_steps = 1;
  sequences.clear();
  for (const ReplicaWork& work : choice.work) {
    candidate.micro_batches.push_back(micro_batch_of(work));
    sequences.push_back(work.sequences);
    candidate.step.gradient_accumulation_steps =
        std::max(candidate.step.gradient_accumulation_steps, work.sequences == 0 ? 1 : work.passes);
  }
  candidate.sequences = sequences;
  request.knobs = choice.knobs;
  candidate.step.micro_batch = candidate.micro_batches.front();
  return candidate;
}

Error nothing_fits(const Plan& plan, const SearchSpace& space, SearchMemory& memory) {
  Bytes least_missing;
  bool first = true;
  for (const StepSettings& step : space.configurations) {
    Bytes missing(0);
    for (std::size_t i = 0; i < plan.cards.size(); ++i) {
      const ReplicaWork work = space.fixed_work ? (*space.fixed_work)[i] : ReplicaWork{.sequences = 1};
      missing = std::max(missing, memory.at_least(step, i, work) - plan.cards[i].usable);
    }
    if (first || missing < least_missing) least_missing = missing;
    first = false;
  }
  const std::string amount = least_missing > Bytes(0) ? format_size(least_missing) + " at least" : "a little";
  return does_not_fit(
      fmt::format("{} ({} parameters) does not fit with any of {} configurations: {} more would be needed",
                  plan.request.model_name, format_count(parameter_count(plan.request.model)),
                  space.configurations.size(), amount),
      "Take a smaller --model_size, more --vram, or let the planner choose what you fixed by flag.");
}

Result<Choice> search_at(Plan& plan, const Candidate& start) {
  const SearchSpace space = make_space(plan.request, plan.cards, start);
  SearchMemory memory(plan.request.model, plan.cards);
  ReplicaSearch replicas(plan.request.model, space, memory);
  SearchState state{.plan = plan, .space = space, .memory = memory, .replicas = replicas};
  for (const SearchPass& pass : search_passes()) pass.run(state);
  plan.replays += memory.replays();
  if (!state.best) return nothing_fits(plan, space, memory);
  return *state.best;
}

}  // namespace

const std::vector<SearchPass>& search_passes() {
  static const std::vector<SearchPass> kPasses = {{"bound_times", bound_times},
                                                  {"find_fastest", find_fastest},
                                                  {"choose_knobs_by_card", choose_knobs_by_card},
                                                  {"keep_memory_free", keep_memory_free},
                                                  {"list_runner_ups", list_runner_ups}};
  return kPasses;
}

double fullness(SearchMemory& memory, const Choice& choice, double most) {
  double fullest = 0;
  for (std::size_t i = 0; i < choice.work.size(); ++i) {
    const Bytes device = memory.device(choice.step_of(i), i, choice.work[i], most);
    fullest = std::max(fullest, device.in_mib() / memory.cards()[i].usable.in_mib());
  }
  return fullest;
}

double least_fullness(const SearchMemory& memory, const Choice& choice) {
  double most = 0;
  for (std::size_t i = 0; i < choice.work.size(); ++i) {
    const Bytes device = memory.at_least(choice.step_of(i), i, choice.work[i]);
    most = std::max(most, device.in_mib() / memory.cards()[i].usable.in_mib());
  }
  return most;
}

void bound_times(SearchState& state) {
  for (const StepSettings& step : state.space.configurations) {
    if (std::optional<Choice> choice = state.replicas.fastest(step)) state.by_speed.push_back(std::move(*choice));
  }
  std::stable_sort(state.by_speed.begin(), state.by_speed.end(),
                   [](const Choice& a, const Choice& b) { return a.seconds < b.seconds; });
}

void find_fastest(SearchState& state) {
  for (const Choice& bound : state.by_speed) {
    if (state.best && bound.seconds >= state.best->seconds) return;
    std::optional<Choice> choice = state.replicas.fastest_that_fits(bound.step);
    if (choice && (!state.best || choice->seconds < state.best->seconds)) state.best = std::move(choice);
  }
}

// Among all that are fast enough the one that leaves most; the bound on memory spares most replays.
void keep_memory_free(SearchState& state) {
  if (state.plan.request.strategy != Strategy::kSafest || !state.best) return;
  const double most_seconds = state.best->seconds / kLeastSpeed;
  std::vector<std::pair<double, Choice>> fast_enough;
  for (const Choice& bound : state.by_speed) {
    if (bound.seconds > most_seconds) break;
    for (const std::int64_t passes : pass_counts(state.space.sequences)) {
      const std::int64_t most = (state.space.sequences + passes - 1) / passes;
      std::optional<Choice> choice = state.replicas.fastest(bound.step, most);
      if (!choice || choice->seconds > most_seconds) continue;
      const double least = least_fullness(state.memory, *choice);
      fast_enough.emplace_back(least, std::move(*choice));
    }
  }
  std::stable_sort(fast_enough.begin(), fast_enough.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  double least = fullness(state.memory, *state.best);
  for (const auto& [bound, choice] : fast_enough) {
    if (bound >= least) break;
    const double full = fullness(state.memory, choice, least);
    if (full >= least) continue;
    least = full;
    state.best = choice;
  }
}

Result<Candidate> search_plan(Plan& plan, const Candidate& start) {
  Candidate from = start;
  for (;;) {
    const Result<Choice> choice = search_at(plan, from);
    if (choice.ok()) return candidate_of(*choice, plan.request);
    const bool may_shorten = plan.request.allowed.seq_len && !plan.request.overrides.seq_len;
    if (!may_shorten || from.step.seq_len / 2 < kShortestSequence) return choice.error();
    from.step.seq_len /= 2;
  }
}

}  // namespace vramwise
