// The choices between speed and memory: each one in the list is the fastest with so little memory. Small steps of
// memory are left out, as are values of the loss's chunk beside the chosen one: nobody decides by those.
#include <algorithm>
#include <string>
#include <utility>

#include "plan/search/search.h"

namespace vramwise {
namespace {

constexpr double kSmallestStep = 0.93;  // of memory, from one row to the next
constexpr std::size_t kMostRows = 8;
constexpr int kMostReplays = 60;

Bytes fullest_device(SearchMemory& memory, const Choice& choice) {
  Bytes device;
  double most = 0;
  for (std::size_t i = 0; i < choice.work.size(); ++i) {
    const Bytes bytes = memory.device(choice.step_of(i), i, choice.work[i]);
    const double part = bytes.in_mib() / memory.cards()[i].usable.in_mib();
    if (part <= most) continue;
    most = part;
    device = bytes;
  }
  return device;
}

RunnerUp row_of(const SearchState& state, const Choice& choice) {
  RunnerUp row{.step = choice.step,
               .device = fullest_device(state.memory, choice),
               .tokens_per_s = static_cast<double>(state.space.sequences) * static_cast<double>(choice.step.seq_len) /
                               choice.seconds};
  for (const ReplicaWork& work : choice.work) {
    row.batches += (row.batches.empty() ? "" : " + ") + std::to_string(micro_batch_of(work)) + " x " +
                   std::to_string(work.sequences == 0 ? 0 : work.passes);
  }
  row.fullness = fullness(state.memory, choice);
  row.step.micro_batch = micro_batch_of(choice.work.front());
  row.step.gradient_accumulation_steps = choice.work.front().passes;
  return row;
}

}  // namespace

void list_runner_ups(SearchState& state) {
  if (!state.best) return;
  std::vector<Choice> choices;
  for (const Choice& bound : state.by_speed) {
    if (bound.step.loss_chunk_tokens != state.best->step.loss_chunk_tokens) continue;
    for (std::int64_t most = state.space.sequences; most >= 1; most /= 2) {
      if (std::optional<Choice> choice = state.replicas.fastest(bound.step, most))
        choices.push_back(std::move(*choice));
      if (state.space.fixed_work || state.space.fixed_passes) break;
    }
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.seconds < b.seconds; });
  double least = fullness(state.memory, *state.best);
  const int before = state.memory.replays();
  for (const Choice& choice : choices) {
    if (state.plan.runner_ups.size() == kMostRows || state.memory.replays() - before > kMostReplays) break;
    if (choice.seconds < state.best->seconds || least_fullness(state.memory, choice) > least * kSmallestStep) continue;
    const double full = fullness(state.memory, choice, least * kSmallestStep);
    if (full > least * kSmallestStep) continue;
    least = full;
    state.plan.runner_ups.push_back(row_of(state, choice));
  }
}

}  // namespace vramwise
