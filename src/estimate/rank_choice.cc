// Ranks under DeepSpeed have equal parts of masters and states, but what they keep of gradients is not equal; stage 3
// that reduces to the owner keeps the same on each. docs/accuracy.md tells what is missed where not all are run.
#include "estimate/rank_choice.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "allocator/device_memory.h"
#include "allocator/reserved_within.h"
#include "estimate/reserved_of_training.h"
#include "estimate/training.h"
#include "estimate/training_ledger.h"

namespace vramwise {
namespace {

constexpr int kRanksToRun = 8;
constexpr std::int64_t kBeyond = std::numeric_limits<std::int64_t>::max();  // what no card counts

TrainingEstimate estimate_of(const TrainingTrace& trace, const TrainingSettings& settings, const TrainingCard& card,
                             const AllocatorOptions& options) {
  TrainingEstimate estimate = ledger_of(trace, options);
  estimate.steps = settings.steps;
  estimate.rank = trace.rank;
  estimate.has_estimates = trace.has_estimates;
  estimate.device = estimate.reserved + card.context + card.communicator;
  estimate.reserved_on_card = estimate.reserved;
  if (card.total && (!estimate.fits || estimate.device > *card.total)) replay_on_card(trace, card, options, estimate);
  return estimate;
}

std::int64_t reserved_of(const TrainingTrace& trace, const AllocatorOptions& options) {
  return reserved_within(trace.events, options, DeviceMemoryLimits::kUnlimited, trace.repeats.events).value_or(kBeyond);
}

// Ranks under DeepSpeed have equal parts, but what they keep of gradients is not equal. Whether a card holds it is
// decided by what is reserved.
Result<TrainingTrace> fullest_rank(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware,
                                   const AllocatorOptions& options) {
  const std::vector<int> ranks = ranks_to_run(settings.parallel);
  std::optional<TrainingTrace> fullest;
  std::int64_t most = 0;
  for (const int rank : ranks) {
    settings.parallel.deepspeed.rank = rank;
    VRAMWISE_ASSIGN_OR_RETURN(TrainingTrace trace, trace_training(model, settings, hardware));
    if (ranks.size() == 1) return trace;
    const std::int64_t reserved = reserved_of(trace, options);
    if (fullest && reserved <= most) continue;
    fullest = std::move(trace);
    most = reserved;
  }
  return std::move(*fullest);
}

TrainingSettings on_card(TrainingSettings settings, const TrainingCard& card) {
  if (card.total) settings.parallel.deepspeed.card_bytes = card.total->count();
  return settings;
}

}  // namespace

std::vector<int> ranks_to_run(const ParallelOptions& parallel) {
  const tape::DeepSpeedOptions& zero = parallel.deepspeed;
  const bool are_alike = zero.stage == 3 && zero.reduces_to_owner;
  const bool is_any = parallel.kind == Parallel::kDeepSpeed && zero.rank == tape::kMostGradients && !are_alike;
  if (!is_any) return {zero.rank};
  std::vector<int> chosen;
  const int spread = std::min(parallel.ranks, kRanksToRun);
  chosen.reserve(static_cast<std::size_t>(spread) + 1);
  for (int i = 0; i < spread; ++i) chosen.push_back(i * (parallel.ranks - 1) / std::max(1, spread - 1));
  if (parallel.ranks > kRanksToRun) chosen.push_back(tape::kMostGradients);
  return chosen;
}

Result<TrainingEstimate> estimate_training(const ModelConfig& model, const TrainingSettings& settings,
                                           const TrainingCard& card, const AllocatorOptions& options) {
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace,
                            fullest_rank(model, on_card(settings, card), card.hardware, options));
  return estimate_of(trace, settings, card, options);
}

Result<std::optional<Bytes>> reserved_of_training(const ModelConfig& model, TrainingSettings settings,
                                                  const TrainingCard& card, const AllocatorOptions& options) {
  settings = on_card(std::move(settings), card);
  settings.writes_repeats = false;
  std::int64_t most = 0;
  for (const int rank : ranks_to_run(settings.parallel)) {
    settings.parallel.deepspeed.rank = rank;
    VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, card.hardware));
    most = std::max(most, reserved_of(trace, options));
  }
  return most == kBeyond ? std::optional<Bytes>() : Bytes(most);
}

}  // namespace vramwise
