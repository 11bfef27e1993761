// Cards of one kind share their answers.
#include "plan/search/memory.h"

#include "estimate/lower_bound.h"

namespace vramwise {
namespace {

bool same_estimate(const CardPlan& a, const CardPlan& b) {
  const Target &x = a.card.target, &y = b.card.target;
  return a.holds_optimizer == b.holds_optimizer && x.backend == y.backend && x.context == y.context &&
         x.workspaces == y.workspaces && x.threads == y.threads;
}

}  // namespace

SearchMemory::SearchMemory(const DecoderConfig& model, const std::vector<CardPlan>& cards)
    : model_(model), cards_(cards) {
  for (std::size_t i = 0; i < cards.size(); ++i) {
    std::size_t first = 0;
    while (!same_estimate(cards[first], cards[i])) ++first;
    like_.push_back(first);
  }
}

Target SearchMemory::target_of(std::size_t card) const {
  Target target = cards_[card].card.target;
  target.holds_optimizer = cards_[card].holds_optimizer;
  return target;
}

Bytes SearchMemory::at_least(const StepSettings& step, std::size_t card, std::int64_t micro_batch) const {
  StepSettings asked = step;
  asked.micro_batch = micro_batch;
  return least_device_bytes(model_, asked, target_of(card));
}

Bytes SearchMemory::device(const StepSettings& step, std::size_t card, std::int64_t micro_batch) {
  const Key key = {static_cast<std::int64_t>(like_[card]),
                   micro_batch,
                   step.seq_len,
                   static_cast<std::int64_t>(step.precision),
                   step.checkpointed_blocks,
                   step.loss_chunk_tokens,
                   step.offload_optimizer ? 1 : 0};
  const auto found = known_.find(key);
  if (found != known_.end()) return found->second;
  StepSettings asked = step;
  asked.micro_batch = micro_batch;
  ++replays_;
  const Bytes device = estimate_step(model_, asked, target_of(card)).device;
  known_.emplace(key, device);
  return device;
}

bool SearchMemory::fits(const StepSettings& step, std::size_t card, std::int64_t micro_batch) {
  const Bytes usable = cards_[card].usable;
  return at_least(step, card, micro_batch) <= usable && device(step, card, micro_batch) <= usable;
}

std::int64_t SearchMemory::largest(const StepSettings& step, std::size_t card, std::int64_t most) {
  if (fits(step, card, most)) return most;
  std::int64_t low = 0, high = most;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(step, card, middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace vramwise
