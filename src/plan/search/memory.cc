// Cards of one kind share their answers.
#include "plan/search/memory.h"

#include <algorithm>

#include "estimate/lower_bound.h"
#include "plan/search/space.h"

namespace vramwise {
namespace {

bool same_estimate(const CardPlan& a, const CardPlan& b) {
  const Target &x = a.card.target, &y = b.card.target;
  return a.holds_optimizer == b.holds_optimizer && x.backend == y.backend && x.context == y.context &&
         x.workspaces == y.workspaces && x.threads == y.threads && x.capability == y.capability &&
         x.has_avx512 == y.has_avx512 && x.sm_count == y.sm_count;
}

/// Fewer sequences with the same memory: it hangs on which sizes the passes have, and whether the larger one comes
/// twice.
std::int64_t like_sequences(const ReplicaWork& work) {
  const std::int64_t micro_batch = micro_batch_of(work);
  const std::int64_t larger = work.sequences % work.passes;
  if (work.sequences == 0 || larger == 0) return work.sequences == 0 ? 0 : micro_batch;
  return std::min<std::int64_t>(larger, 2) * micro_batch + micro_batch - 1;
}

StepSettings with_micro_batch(const StepSettings& step, const ReplicaWork& work) {
  StepSettings asked = step;
  asked.micro_batch = micro_batch_of(work);
  return asked;
}

}  // namespace

SearchMemory::SearchMemory(const DecoderConfig& model, const std::vector<CardPlan>& cards)
    : model_(model), cards_(cards) {
  for (std::size_t i = 0; i < cards.size(); ++i) {
    std::size_t first = 0;
    while (!same_estimate(cards[first], cards[i])) ++first;
    like_.push_back(first);
    most_usable_.push_back(cards[i].usable);
    most_usable_[first] = std::max(most_usable_[first], cards[i].usable);
  }
}

Target SearchMemory::target_of(std::size_t card, const ReplicaWork& work) const {
  Target target = cards_[card].card.target;
  target.holds_optimizer = cards_[card].holds_optimizer;
  target.has_peers = cards_.size() > 1;
  target.sequences = like_sequences(work);
  return target;
}

Bytes SearchMemory::at_least(const StepSettings& step, std::size_t card, const ReplicaWork& work) const {
  return least_device_bytes(model_, with_micro_batch(step, work), target_of(card, work));
}

Bytes SearchMemory::device(const StepSettings& step, std::size_t card, const ReplicaWork& work, double part) {
  const Key key = {static_cast<std::int64_t>(like_[card]),
                   micro_batch_of(work),
                   like_sequences(work),
                   step.seq_len,
                   static_cast<std::int64_t>(step.precision),
                   step.checkpointed_blocks,
                   step.loss_chunk_tokens,
                   step.offload_optimizer ? 1 : 0};
  const Bytes usable = most_usable_[like_[card]];
  const Bytes enough =
      part < 1 ? Bytes(static_cast<std::int64_t>(part * static_cast<double>(usable.count())) + 1) : usable;
  const auto found = known_.find(key);
  if (found != known_.end()) {
    const Known& known = found->second;
    if (known.device <= known.enough || known.device > enough) return known.device;
  }
  ++replays_;
  const Bytes device = estimate_step(model_, with_micro_batch(step, work), target_of(card, work), enough).device;
  known_[key] = {.device = device, .enough = enough};
  return device;
}

bool SearchMemory::fits(const StepSettings& step, std::size_t card, const ReplicaWork& work) {
  const Bytes usable = cards_[card].usable;
  return at_least(step, card, work) <= usable && device(step, card, work) <= usable;
}

bool SearchMemory::alike(std::size_t a, std::size_t b) const {
  return like_[a] == like_[b] && cards_[a].usable == cards_[b].usable && cards_[a].card.rates == cards_[b].card.rates;
}

std::int64_t SearchMemory::largest(const StepSettings& step, std::size_t card, std::int64_t most) {
  const auto fits_with = [&](std::int64_t micro_batch) { return fits(step, card, {.sequences = micro_batch}); };
  if (fits_with(most)) return most;
  std::int64_t low = 0, high = most;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits_with(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace vramwise
