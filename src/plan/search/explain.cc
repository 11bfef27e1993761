// Why a configuration: each knob that is not at its plain value is put back alone, and both its memory and its time are
// predicted again.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "plan/search/search.h"

namespace vramwise {
namespace {

struct Measured {
  Bytes device;        ///< on the card that is fullest in the plan
  double seconds = 0;  ///< of a step
  bool fits = false;
};

std::size_t fullest_card(const Plan& plan) {
  std::size_t fullest = 0;
  const auto part = [&](std::size_t i) { return plan.cards[i].ledger.device.in_mib() / plan.cards[i].usable.in_mib(); };
  for (std::size_t i = 1; i < plan.cards.size(); ++i) {
    if (part(i) > part(fullest)) fullest = i;
  }
  return fullest;
}

Measured measure(const Plan& plan, const StepSettings& step, const std::vector<CardPlan>& cards) {
  Candidate candidate{.step = step, .micro_batches = {}};
  for (const CardPlan& card : cards) {
    candidate.micro_batches.push_back(card.micro_batch);
    candidate.sequences.push_back(card.sequences);
    candidate.knobs.push_back(card.knobs);
  }
  const std::size_t fullest = fullest_card(plan);
  return {.device = ledger_of(plan.request.model, candidate, cards[fullest], fullest).device,
          .seconds = step_seconds(plan.request.model, step, cards),
          .fits = fits(plan.request.model, candidate, cards)};
}

void add(Plan& plan, const std::string& knob, const std::string& change, const Measured& without) {
  const Bytes device = plan.cards[fullest_card(plan)].ledger.device;
  Decision decision{.knob = knob, .change = change};
  decision.saved = without.device - device;
  decision.slowdown = plan.step_seconds / without.seconds - 1;
  const double percent = 100 * *decision.slowdown;
  if (percent > -0.1 && decision.saved->in_mib() < 1 && without.fits) return;  // nobody would decide by it
  const std::string saving = *decision.saved >= Bytes(0) ? "saves " + format_size(*decision.saved)
                                                         : "takes " + format_size(-*decision.saved) + " more";
  decision.reason =
      fmt::format("{}, {} {:.1f} % of the step{}", saving, percent >= 0 ? "costs" : "gains",
                  percent >= 0 ? percent : -percent, without.fits ? "" : "; without it the plan does not fit");
  plan.decisions.push_back(std::move(decision));
}

}  // namespace

void explain_search(Plan& plan) {
  const StepSettings& step = plan.step;
  if (step.gradient_accumulation_steps > 1) {
    std::vector<CardPlan> cards = plan.cards;
    for (CardPlan& card : cards) card.micro_batch = std::max<std::int64_t>(1, card.sequences);
    add(plan, "micro_batch", fmt::format("{} instead of one pass", batches_text(plan.cards)),
        measure(plan, step, cards));
  }
  const auto put_back = [&](const char* knob, const std::string& change, auto&& reset) {
    StepSettings plain = step;
    reset(plain);
    add(plan, knob, change, measure(plan, plain, plan.cards));
  };
  const auto put_back_on_cards = [&](const char* knob, const std::string& change, std::int64_t CardKnobs::* member,
                                     std::int64_t value) {
    std::vector<CardPlan> cards = plan.cards;
    for (CardPlan& card : cards) card.knobs.*member = value;
    add(plan, knob, change, measure(plan, step, cards));
  };
  const auto recomputes = [](const CardPlan& card) { return card.knobs.checkpointed_blocks > 0; };
  if (std::any_of(plan.cards.begin(), plan.cards.end(), recomputes)) {
    put_back_on_cards(
        "checkpointed_blocks",
        fmt::format("{} of {}", knob_text(plan.cards, &CardKnobs::checkpointed_blocks), plan.request.model.n_layers),
        &CardKnobs::checkpointed_blocks, 0);
  }
  if (step.offload_optimizer) {
    put_back("offload_optimizer", "on", [](StepSettings& plain) { plain.offload_optimizer = false; });
  }
  std::int64_t tokens = 0;
  bool in_chunks = false;
  for (const CardPlan& card : plan.cards) {
    tokens = std::max(tokens, card.micro_batch * step.seq_len);
    in_chunks = in_chunks || card.knobs.loss_chunk_tokens < card.micro_batch * step.seq_len;
  }
  if (in_chunks) {
    put_back_on_cards(
        "loss_chunk_tokens",
        fmt::format("{} of {} tokens at a time", knob_text(plan.cards, &CardKnobs::loss_chunk_tokens), tokens),
        &CardKnobs::loss_chunk_tokens, tokens);
  }
  if (step.precision != Precision::kFp32) {
    put_back("precision", precision_name(step.precision),
             [](StepSettings& plain) { plain.precision = Precision::kFp32; });
  }
}

}  // namespace vramwise
