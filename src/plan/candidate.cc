// A candidate fits when every card holds its own replica: memory is never summed over cards.
#include "plan/candidate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cost/decoder_step.h"

namespace vramwise {

std::vector<std::int64_t> share_micro_batch(std::int64_t reference_micro_batch, const std::vector<CardPlan>& cards) {
  double fastest = 0;
  for (const CardPlan& card : cards) fastest = std::max(fastest, card.card.relative_speed);
  std::vector<std::int64_t> shares;
  for (const CardPlan& card : cards) {
    const double share = static_cast<double>(reference_micro_batch) * card.card.relative_speed / fastest;
    shares.push_back(std::max<std::int64_t>(1, std::llround(share)));
  }
  return shares;
}

std::int64_t accumulation_for(std::int64_t sequences, const std::vector<std::int64_t>& micro_batches) {
  const std::int64_t together = std::accumulate(micro_batches.begin(), micro_batches.end(), std::int64_t{0});
  return (sequences + together - 1) / together;
}

std::vector<std::int64_t> share_sequences(std::int64_t sequences, const std::vector<std::int64_t>& micro_batches) {
  const std::int64_t together = std::accumulate(micro_batches.begin(), micro_batches.end(), std::int64_t{0});
  std::vector<std::int64_t> shares;
  std::int64_t weight = 0;
  std::int64_t begin = 0;
  for (const std::int64_t micro_batch : micro_batches) {
    weight += micro_batch;
    const std::int64_t end = sequences * weight / together;
    shares.push_back(end - begin);
    begin = end;
  }
  return shares;
}

void share_out(Candidate& candidate, const PlanRequest& request) {
  candidate.knobs = request.knobs;
  candidate.sequences = request.sequences;
  if (!candidate.sequences.empty()) return;
  const std::vector<std::int64_t>& sizes = candidate.micro_batches;
  const std::int64_t together = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  candidate.sequences = share_sequences(
      request.overrides.effective_batch.value_or(together * candidate.step.gradient_accumulation_steps), sizes);
}

std::string knob_text(const std::vector<CardPlan>& cards, std::int64_t CardKnobs::* knob) {
  const std::int64_t first = cards.front().knobs.*knob;
  const auto is_first = [&](const CardPlan& card) { return card.knobs.*knob == first; };
  if (std::all_of(cards.begin(), cards.end(), is_first)) return std::to_string(first);
  std::string text;
  for (const CardPlan& card : cards) text += (text.empty() ? "" : " + ") + std::to_string(card.knobs.*knob);
  return text;
}

std::string batches_text(const std::vector<CardPlan>& cards) {
  std::string text;
  for (const CardPlan& card : cards) {
    const std::int64_t passes = (card.sequences + card.micro_batch - 1) / card.micro_batch;
    text += (text.empty() ? "" : " + ") + std::to_string(card.micro_batch) + " x " + std::to_string(passes);
  }
  return text;
}

double step_seconds(const DecoderConfig& model, const StepSettings& step, const std::vector<CardPlan>& cards) {
  double slowest = 0;
  std::vector<DeviceRates> others;
  const CardPlan* holder = &cards.front();
  for (const CardPlan& card : cards) {
    const DecoderPass pass(model, with_knobs(step, card.knobs), card.card.backend, card.card.rates);
    const std::int64_t passes = (card.sequences + card.micro_batch - 1) / card.micro_batch;
    slowest = std::max(slowest, seconds_of(pass, {.sequences = card.sequences, .passes = passes}));
    if (card.holds_optimizer) {
      holder = &card;
    } else {
      others.push_back(card.card.rates);
    }
  }
  return slowest + update_seconds(model, step, holder->card.rates, others);
}

Bytes offloaded_bytes(const DecoderConfig& model, const Candidate& candidate, const std::vector<CardPlan>& cards) {
  Bytes sum;
  for (std::size_t i = 0; i < cards.size(); ++i) {
    if (cards[i].holds_optimizer) sum += ledger_of(model, candidate, cards[i], i).offloaded;
  }
  return sum;
}

Ledger ledger_of(const DecoderConfig& model, const Candidate& candidate, const CardPlan& card, std::size_t index) {
  StepSettings step = candidate.step_of(index);
  step.micro_batch = candidate.micro_batches.at(index);
  Target target = card.card.target;
  target.holds_optimizer = card.holds_optimizer;
  target.has_peers = candidate.micro_batches.size() > 1;
  if (!candidate.sequences.empty()) target.sequences = candidate.sequences.at(index);
  return estimate_step(model, step, target);
}

Bytes shortage(const DecoderConfig& model, const Candidate& candidate, const std::vector<CardPlan>& cards) {
  Bytes worst = ledger_of(model, candidate, cards.front(), 0).device - cards.front().usable;
  for (std::size_t i = 1; i < cards.size(); ++i) {
    worst = std::max(worst, ledger_of(model, candidate, cards[i], i).device - cards[i].usable);
  }
  return worst;
}

}  // namespace vramwise
