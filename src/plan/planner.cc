// The guide strategy: row of the table, passes until it fits, then the ledger of each card. The others search from the
// same start: the effective batch is the row's.
//
// A replica must fit on one card: with several cards the target is shared out, each card loses the safety margin once,
// and the row is that of the card with the largest share. Unequal cards share settings but not micro-batches.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/units.h"
#include "plan/candidate.h"
#include "plan/guide_table.h"
#include "plan/passes/passes.h"
#include "plan/plan.h"
#include "plan/search/search.h"

namespace vramwise {
namespace {

constexpr std::int64_t kMuchForCpu = 20'000'000;  // parameters

Result<std::vector<CardPlan>> budget_cards(const PlanRequest& request) {
  std::vector<Bytes> targets;
  if (request.target.kind == VramTarget::Kind::kAuto) {
    for (const Card& card : request.cards) targets.push_back(card.budget);
  } else {
    targets = spread_target(request.target.total, request.cards);
  }
  std::vector<CardPlan> cards;
  for (std::size_t i = 0; i < request.cards.size(); ++i) {
    CardPlan card{.card = request.cards[i], .target = targets[i], .usable = targets[i] - request.safety_margin};
    if (card.usable <= Bytes(0)) {
      return usage_error(fmt::format("a safety margin of {} MB leaves nothing of {} GB ({})",
                                     format_mib(request.safety_margin), format_gib(card.target), card.card.name),
                         "Give a smaller --vram_safety_margin or more --vram.");
    }
    cards.push_back(std::move(card));
  }
  const auto less_usable = [](const CardPlan& a, const CardPlan& b) { return a.usable < b.usable; };
  std::max_element(cards.begin(), cards.end(), less_usable)->holds_optimizer = true;
  return cards;
}

Precision default_precision(const std::vector<CardPlan>& cards) {
  const bool on_cpu =
      std::any_of(cards.begin(), cards.end(), [](const CardPlan& c) { return c.card.backend == Backend::kCpu; });
  if (on_cpu) return Precision::kFp32;
  const bool all_bf16 = std::all_of(cards.begin(), cards.end(), [](const CardPlan& c) { return c.card.has_bf16; });
  return all_bf16 ? Precision::kBf16 : Precision::kFp16;
}

/// Micro-batch and accumulation that hold the fixed effective batch: the one that is not fixed itself follows.
void keep_effective_batch(StepSettings& step, const Overrides& fixed, const std::vector<CardPlan>& cards) {
  const std::int64_t sequences = *fixed.effective_batch;
  if (fixed.gradient_accumulation_steps) {
    const std::int64_t steps = *fixed.gradient_accumulation_steps;
    step.micro_batch = 1;
    while (accumulation_for(sequences, share_micro_batch(step.micro_batch, cards)) > steps) ++step.micro_batch;
    return;
  }
  if (!fixed.micro_batch) step.micro_batch = std::min(step.micro_batch, sequences);
  step.gradient_accumulation_steps = accumulation_for(sequences, share_micro_batch(step.micro_batch, cards));
}

Candidate starting_candidate(const PlanRequest& request, const std::vector<CardPlan>& cards) {
  Bytes largest_target = cards.front().target;
  for (const CardPlan& card : cards) largest_target = std::max(largest_target, card.target);
  const GuideRow& row = guide_row(largest_target);
  const Overrides& fixed = request.overrides;
  const std::int64_t row_blocks = row.activation_checkpointing ? request.model.n_layers : 0;

  Candidate candidate;
  StepSettings& step = candidate.step;
  step.micro_batch = fixed.micro_batch.value_or(row.micro_batch);
  step.seq_len = fixed.seq_len.value_or(row.seq_len);
  step.gradient_accumulation_steps = fixed.gradient_accumulation_steps.value_or(row.gradient_accumulation_steps);
  if (fixed.effective_batch) keep_effective_batch(step, fixed, cards);
  step.precision = fixed.precision.value_or(default_precision(cards));
  step.checkpointed_blocks = std::min(fixed.checkpointed_blocks.value_or(row_blocks), request.model.n_layers);
  step.offload_optimizer = fixed.offload_optimizer.value_or(false);
  step.loss_chunk_tokens = fixed.loss_chunk_tokens.value_or(step.loss_chunk_tokens);
  candidate.micro_batches =
      request.micro_batches.empty() ? share_micro_batch(step.micro_batch, cards) : request.micro_batches;
  share_out(candidate, request);
  return candidate;
}

std::string describe_settings(const StepSettings& step, const std::string& checkpointed_blocks) {
  return fmt::format("batch_size {}, gradient_accumulation_steps {}, seq_len {}, {} checkpointed blocks{}",
                     step.micro_batch, step.gradient_accumulation_steps, step.seq_len, checkpointed_blocks,
                     step.offload_optimizer ? ", optimizer states offloaded" : "");
}

std::string describe_settings(const StepSettings& step) {
  return describe_settings(step, std::to_string(step.checkpointed_blocks));
}

Error preset_does_not_fit(const PlanRequest& request, const std::vector<CardPlan>& cards, const Candidate& row) {
  std::vector<Decision> decisions;
  PassContext context{request, cards, decisions};
  Candidate smaller = row;
  for (const Pass& pass : guide_passes()) pass.run(smaller, context);
  std::string remedy = "No smaller configuration of it fits either; take a smaller --model_size.";
  if (context.fits(smaller)) {
    remedy = fmt::format("With --vram {} it is shrunk until it fits: {}.", format_gib(request.target.total, 0),
                         describe_settings(smaller.step));
  }
  return does_not_fit(fmt::format("the preset's row as it stands does not fit {}: {} more would be needed",
                                  request.model_name, format_size(shortage(request.model, row, cards))),
                      remedy);
}

/// Offloading that was asked for, and has nowhere to go.
Error no_room_for_offload(const PlanRequest& request, Bytes offloaded) {
  return does_not_fit(
      fmt::format("optimizer states off the device take {}, and {} has room for {}", format_size(offloaded),
                  request.offload_tier->name, format_size(request.offload_tier->room)),
      "Leave --cpu_offload out, make room there, or take a smaller model.");
}

Error nothing_fits(const PlanRequest& request, const std::vector<CardPlan>& cards, const Candidate& smallest) {
  Candidate offloaded = smallest;
  offloaded.step.offload_optimizer = true;
  const Bytes taken = offloaded_bytes(request.model, offloaded, cards);
  std::string remark;
  if (!smallest.step.offload_optimizer && !request.overrides.offload_optimizer && request.offload_tier &&
      taken > request.offload_tier->room) {
    remark = fmt::format("; optimizer states cannot leave the device, as they take {} and {} has room for {}",
                         format_size(taken), request.offload_tier->name, format_size(request.offload_tier->room));
  }
  return does_not_fit(
      fmt::format("{} ({} parameters) does not fit: even {} needs {} more than the {} that are usable{}",
                  request.model_name, format_count(parameter_count(request.model)), describe_settings(smallest.step),
                  format_size(shortage(request.model, smallest, cards)), format_size(cards.front().usable), remark),
      "Take a smaller --model_size, more --vram, or let the planner choose what you fixed by flag.");
}

void finish(Plan& plan, Candidate candidate) {
  share_out(candidate, plan.request);
  plan.step = candidate.step_of(0);
  plan.step.micro_batch = candidate.micro_batches.front();
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    plan.cards[i].micro_batch = candidate.micro_batches[i];
    plan.cards[i].sequences = candidate.sequences[i];
    plan.cards[i].knobs = knobs_of(candidate.step_of(i));
    plan.cards[i].ledger = ledger_of(plan.request.model, candidate, plan.cards[i], i);
    plan.total_target += plan.cards[i].target;
  }
  plan.model_memory = plan.cards[plan.optimizer_card()].model_memory();
  plan.step_seconds = step_seconds(plan.request.model, plan.step, plan.cards);
  plan.time_is_known =
      std::all_of(plan.cards.begin(), plan.cards.end(), [](const CardPlan& card) { return card.card.rates.is_known; });
}

/// What a reader could stumble over in the report's figures.
void add_notes_on_cards(Plan& plan) {
  if (plan.cards.size() > 1 && plan.request.safety_margin > Bytes()) {
    plan.notes.emplace_back(
        "The line of usable memory over all cards takes the margin off once; each card's own line, which decides, "
        "takes it off that card");
  }
  for (const CardPlan& card : plan.cards) {
    if (plan.step.precision != Precision::kBf16 || card.card.has_bf16 || card.card.backend == Backend::kCpu) continue;
    plan.notes.push_back(fmt::format("{} has no bf16 units: PyTorch emulates it, slower than fp16", card.card.name));
  }
  const CardPlan& first = plan.cards.front();
  if (plan.cards.size() == 1 && plan.request.target.kind == VramTarget::Kind::kAuto &&
      first.card.backend == Backend::kCuda && first.target + Bytes::mib(50) < first.card.shown_total) {
    plan.notes.push_back(fmt::format("The target is what CUDA can give of the {} GB that nvidia-smi shows{}",
                                     format_gib(first.card.shown_total),
                                     plan.request.origin == CardOrigin::kDetected ? ", less what others use" : ""));
  }
  if (first.card.backend == Backend::kCpu && parameter_count(plan.request.model) > kMuchForCpu)
    plan.notes.emplace_back(
        "A CPU takes seconds to minutes for a step of this model; --model_size tiny is made for it");
}

std::string description_of(const PlanRequest& request, Bytes total_target) {
  if (request.target.kind == VramTarget::Kind::kPreset)
    return fmt::format("Preset for {}GB VRAM", format_gib(total_target, 0));
  return fmt::format("Auto-optimized for {}GB VRAM", format_gib(total_target, 1));
}

}  // namespace

bool fixes_anything(const Overrides& o) {
  return o.micro_batch || o.seq_len || o.gradient_accumulation_steps || o.precision || o.checkpointed_blocks ||
         o.offload_optimizer || o.loss_chunk_tokens;
}

Bytes CardPlan::model_memory() const {
  return ledger.at_peak.weights + ledger.at_peak.gradients + ledger.at_peak.optimizer_states;
}

std::int64_t Plan::effective_batch_size() const {
  if (request.overrides.effective_batch) return *request.overrides.effective_batch;
  std::int64_t sequences = 0;
  for (const std::int64_t share : request.sequences) sequences += share;
  if (sequences > 0) return sequences;
  for (const CardPlan& card : cards) sequences += card.micro_batch * step.gradient_accumulation_steps;
  return sequences;
}

std::size_t Plan::optimizer_card() const {
  const auto holder =
      std::find_if(cards.begin(), cards.end(), [](const CardPlan& card) { return card.holds_optimizer; });
  VRAMWISE_CHECK(holder != cards.end());
  return static_cast<std::size_t>(holder - cards.begin());
}

std::vector<Bytes> spread_target(Bytes total, const std::vector<Card>& cards) {
  double sum = 0;
  for (const Card& card : cards) sum += static_cast<double>(card.budget.count());
  std::vector<Bytes> shares;
  Bytes given;
  for (std::size_t i = 0; i + 1 < cards.size(); ++i) {
    const double part =
        sum > 0 ? static_cast<double>(cards[i].budget.count()) / sum : 1.0 / static_cast<double>(cards.size());
    shares.emplace_back(std::llround(static_cast<double>(total.count()) * part));
    given += shares.back();
  }
  shares.push_back(total - given);
  return shares;
}

const char* strategy_name(Strategy strategy) {
  switch (strategy) {
    case Strategy::kGuide:
      return "guide";
    case Strategy::kFastest:
      return "fastest";
    case Strategy::kSafest:
      return "safest";
  }
  return "?";
}

Result<Strategy> parse_strategy(const std::string& name) {
  for (const Strategy strategy : {Strategy::kGuide, Strategy::kFastest, Strategy::kSafest}) {
    if (name == strategy_name(strategy)) return strategy;
  }
  return usage_error(fmt::format("unknown strategy \"{}\"", name), "Known: guide, fastest, safest.");
}

double Plan::tokens_per_s() const {
  const double tokens = static_cast<double>(effective_batch_size()) * static_cast<double>(step.seq_len);
  return step_seconds > 0 ? tokens / step_seconds : 0;
}

Result<Plan> make_plan(const PlanRequest& request) {
  VRAMWISE_CHECK(!request.cards.empty());
  VRAMWISE_CHECK(request.micro_batches.empty() || request.micro_batches.size() == request.cards.size());
  VRAMWISE_CHECK(request.sequences.empty() || request.sequences.size() == request.cards.size());
  VRAMWISE_CHECK(request.knobs.empty() || request.knobs.size() == request.cards.size());
  Plan plan;
  plan.request = request;
  VRAMWISE_ASSIGN_OR_RETURN(plan.cards, budget_cards(request));
  if (!request.target.note.empty()) plan.notes.push_back(request.target.note);

  VRAMWISE_CHECK(!request.overrides.effective_batch || *request.overrides.effective_batch >= 1);
  Candidate candidate = starting_candidate(request, plan.cards);
  PassContext context{request, plan.cards, plan.decisions};
  const bool as_it_stands = request.target.kind == VramTarget::Kind::kPreset && request.strategy == Strategy::kGuide;
  if (as_it_stands && !context.fits(candidate)) {
    return preset_does_not_fit(request, plan.cards, candidate);
  }
  const std::int64_t wanted_seq_len = candidate.step.seq_len;
  if (request.strategy != Strategy::kGuide) {
    VRAMWISE_ASSIGN_OR_RETURN(candidate, search_plan(plan, candidate));
  } else {
    for (const Pass& pass : guide_passes()) pass.run(candidate, context);
    if (!context.fits(candidate)) return nothing_fits(request, plan.cards, candidate);
  }
  if (candidate.step.offload_optimizer && !context.has_room_for_offload(candidate))
    return no_room_for_offload(request, offloaded_bytes(request.model, candidate, plan.cards));

  if (candidate.step.seq_len < wanted_seq_len) {
    plan.notes.push_back(fmt::format(
        "ATTENTION: the sequence was cut from {} to {} tokens, because nothing else made it fit. This changes what the "
        "model can learn.",
        wanted_seq_len, candidate.step.seq_len));
  }
  finish(plan, candidate);
  if (request.strategy != Strategy::kGuide) explain_search(plan);
  add_notes_on_cards(plan);
  plan.description = description_of(request, plan.total_target);
  return plan;
}

std::string gain_of_fastest(const Plan& plan) {
  PlanRequest request = plan.request;
  request.strategy = Strategy::kFastest;
  request.overrides.effective_batch = plan.effective_batch_size();
  request.overrides.seq_len = plan.step.seq_len;
  request.overrides.precision = plan.step.precision;
  if (request.overrides.micro_batch) request.overrides.gradient_accumulation_steps.reset();
  request.micro_batches.clear();
  request.sequences.clear();
  request.knobs.clear();
  const Result<Plan> fastest = make_plan(request);
  if (!fastest.ok()) return {};
  const double gain = plan.step_seconds / fastest->step_seconds;
  if (gain < 1.005) return "no configuration of these sequences and this batch would be faster";
  return fmt::format("{:.2f} times as fast: {}", gain,
                     describe_settings(fastest->step, knob_text(fastest->cards, &CardKnobs::checkpointed_blocks)));
}

std::int64_t largest_micro_batch_that_fits(const Plan& plan) {
  Candidate candidate{.step = plan.step, .micro_batches = {}};
  for (const CardPlan& card : plan.cards) candidate.knobs.push_back(card.knobs);
  const auto fits_with = [&](std::int64_t micro_batch) {
    candidate.step.micro_batch = micro_batch;
    candidate.micro_batches = share_micro_batch(micro_batch, plan.cards);
    return fits(plan.request.model, candidate, plan.cards);
  };
  std::int64_t low = 0;
  for (const CardPlan& card : plan.cards) low = std::max(low, card.micro_batch);
  std::int64_t high = low * 2;
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  while (high < kMost && fits_with(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits_with(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace vramwise
