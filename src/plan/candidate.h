// A configuration under consideration: the shared settings, a micro-batch for each card, and whether they fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace vramwise {

struct Candidate {
  StepSettings step;                        ///< micro_batch is that of the reference (fastest) card
  std::vector<std::int64_t> micro_batches;  ///< per card
  /// Per card, of an optimizer step; empty: every pass is a whole micro-batch.
  std::vector<std::int64_t> sequences = {};
  std::vector<CardKnobs> knobs = {};  ///< per card; empty: those of `step` for all

  StepSettings step_of(std::size_t card) const { return knobs.empty() ? step : with_knobs(step, knobs.at(card)); }
};

/// Shares `reference_micro_batch` out: the fastest card gets it whole, the others in proportion to their speed, at
/// least 1.
std::vector<std::int64_t> share_micro_batch(std::int64_t reference_micro_batch, const std::vector<CardPlan>& cards);

/// Accumulation steps in which these micro-batches hold `sequences`.
std::int64_t accumulation_for(std::int64_t sequences, const std::vector<std::int64_t>& micro_batches);

/// What becomes of a step's sequences: the trainer shares them out in proportion to the micro-batches.
std::vector<std::int64_t> share_sequences(std::int64_t sequences, const std::vector<std::int64_t>& micro_batches);

/// Fills in the candidate's sequences and knobs: as the request has them, or sequences in proportion to the
/// micro-batches and the same knobs for all.
void share_out(Candidate& candidate, const PlanRequest& request);

/// "3 + 7": of each card, or "3" where all have the same.
std::string knob_text(const std::vector<CardPlan>& cards, std::int64_t CardKnobs::* knob);

/// "8 x 2", "15 x 1 + 7 x 2": micro-batch x passes of each card.
std::string batches_text(const std::vector<CardPlan>& cards);

/// Predicted seconds of an optimizer step, in which each card has its own knobs.
double step_seconds(const DecoderConfig& model, const StepSettings& step, const std::vector<CardPlan>& cards);

/// Optimizer states that leave the devices.
Bytes offloaded_bytes(const DecoderConfig& model, const Candidate& candidate, const std::vector<CardPlan>& cards);

Ledger ledger_of(const DecoderConfig& model, const Candidate& candidate, const CardPlan& card, std::size_t index);

/// Bytes missing on the card that is worst off; zero or less: it fits everywhere.
Bytes shortage(const DecoderConfig& model, const Candidate& candidate, const std::vector<CardPlan>& cards);

inline bool fits(const DecoderConfig& model, const Candidate& candidate, const std::vector<CardPlan>& cards) {
  return shortage(model, candidate, cards) <= Bytes(0);
}

}  // namespace vramwise
