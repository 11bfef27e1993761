// See plan_search_text.h.
#include "report/plan_search_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/units.h"
#include "plan/candidate.h"
#include "report/risk.h"

namespace vramwise {
namespace {

constexpr double kFull = 0.9;

std::string time_line(const Plan& plan) {
  if (plan.step_seconds <= 0) return {};
  if (!plan.time_is_known) {
    return fmt::format("Speed: not predicted ({}); rates only order the configurations\n",
                       plan.cards.front().card.rates.source);
  }
  return fmt::format(
      "Predicted speed: {} tokens/s, {:.3g} s for a step of {} sequences (rates: {})\n"
      "  Nine in ten of 142 published runs of other trainers came to 0.61 to 0.96 of what is predicted so; runs of "
      "this "
      "one were not timed on a GPU (docs/accuracy.md)\n",
      grouped(std::llround(plan.tokens_per_s())), plan.step_seconds, plan.effective_batch_size(),
      plan.cards.front().card.rates.source);
}

/// Two readings of unequal cards: how the work is shared, and how full that makes each.
std::string shares(const Plan& plan, TextStyle style) {
  if (plan.cards.size() < 2) return {};
  bool all_full = true;
  Table table({"GPU", "sequences a step", "share", "micro-batch", "passes", "recomputed", "loss by", "memory",
               "of usable", "<full"});
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    const CardPlan& card = plan.cards[i];
    const double full = card.ledger.device.in_mib() / card.usable.in_mib();
    const double part = static_cast<double>(card.sequences) / static_cast<double>(plan.effective_batch_size());
    all_full = all_full && full >= kFull;
    table.add({std::to_string(i), std::to_string(card.sequences), fmt::format("{:.0f} %", 100 * part),
               std::to_string(card.micro_batch),
               std::to_string((card.sequences + card.micro_batch - 1) / card.micro_batch),
               fmt::format("{}/{}", card.knobs.checkpointed_blocks, plan.request.model.n_layers),
               std::to_string(card.knobs.loss_chunk_tokens), format_size(card.ledger.device), format_size(card.usable),
               fmt::format("{} {:.0f} %", bar(full, style), 100 * full)});
  }
  const char* note =
      "  On a card that is not full nothing larger fits, or nothing larger that would make the step shorter\n";
  return "Shares of the cards, each within its own memory less the margin:\n" + table.text(style) +
         (all_full ? "" : note);
}

std::string decisions(const Plan& plan, TextStyle style) {
  if (plan.decisions.empty()) return "Why: every knob is at its plain value, which fits and is fastest\n";
  Table table({"knob", "<value", "saves", "costs time", "<"});
  for (const Decision& decision : plan.decisions) {
    const bool needed = decision.reason.find("does not fit") != std::string::npos;
    table.add({decision.knob, decision.change, decision.saved ? format_size(*decision.saved) : "",
               decision.slowdown ? fmt::format("{:+.1f} %", 100 * *decision.slowdown) : "",
               needed ? "does not fit without" : ""});
  }
  const char* where = plan.cards.size() > 1 ? "; memory on the fullest card" : "";
  return fmt::format("Why (each knob against the same plan without it{}):\n", where) + table.text(style);
}

std::string settings_in_words(const StepSettings& step, const std::string& batches, const std::string& blocks,
                              std::int64_t n_layers, const std::string& chunks) {
  std::string text = "batch " + batches;
  if (blocks != "0") text += fmt::format(", {}/{} checkpointed", blocks, n_layers);
  if (step.offload_optimizer) text += ", offloaded";
  return text + fmt::format(", loss by {}, {}", chunks, precision_name(step.precision));
}

std::string runner_ups(const Plan& plan, TextStyle style) {
  if (plan.runner_ups.empty()) return {};
  Bytes fullest;
  double full = 0;
  for (const CardPlan& card : plan.cards) {
    const double part = card.ledger.device.in_mib() / card.usable.in_mib();
    if (part <= full) continue;
    full = part;
    fullest = card.ledger.device;
  }
  const std::int64_t layers = plan.request.model.n_layers;
  const double best = plan.tokens_per_s();
  Table table({"<configuration", "memory", "full", "speed"});
  const auto percent = [](double part) { return fmt::format("{:.0f} %", 100 * part); };
  table.add({settings_text(plan), format_size(fullest), percent(full), speed_text(best, plan.time_is_known, best)},
            true);
  for (const RunnerUp& row : plan.runner_ups) {
    table.add({settings_text(row.step, row.batches, layers), format_size(row.device), percent(row.fullness),
               speed_text(row.tokens_per_s, plan.time_is_known, best)});
  }
  return "Runner-ups (the fastest with less memory each; of the fullest card):\n" + table.text(style);
}

}  // namespace

std::string speed_text(double tokens_per_s, bool is_known, double than) {
  if (!is_known) return fmt::format("{:.2f} x", than > 0 ? tokens_per_s / than : 0);
  return grouped(std::llround(tokens_per_s)) + " tokens/s";
}

std::string settings_text(const Plan& plan) {
  return settings_in_words(plan.step, batches_text(plan.cards), knob_text(plan.cards, &CardKnobs::checkpointed_blocks),
                           plan.request.model.n_layers, knob_text(plan.cards, &CardKnobs::loss_chunk_tokens));
}

std::string settings_text(const StepSettings& step, const std::string& batches, std::int64_t n_layers) {
  return settings_in_words(step, batches, std::to_string(step.checkpointed_blocks), n_layers,
                           std::to_string(step.loss_chunk_tokens));
}

std::string search_text(const Plan& plan, TextStyle style) {
  if (plan.request.strategy == Strategy::kGuide) {
    return plan.gain.empty() ? "" : fmt::format("--strategy fastest: {}\n", plan.gain);
  }
  return time_line(plan) + risk_text(plan) + "\n" + shares(plan, style) + decisions(plan, style) +
         runner_ups(plan, style);
}

std::string alternatives_text(const std::vector<Alternative>& changes, const std::vector<const GpuModel*>& cards,
                              TextStyle style) {
  std::string text;
  if (!changes.empty()) {
    Table table({"change", "<training", "<what it does", "memory"});
    for (const Alternative& each : changes) {
      Bytes fullest;
      for (const CardPlan& card : each.plan.cards) fullest = std::max(fullest, card.ledger.device);
      table.add({each.change, each.changes_training ? "changed" : "the same", each.why, format_size(fullest)});
    }
    text += "Single changes that would fit:\n" + table.text(style);
  }
  if (!cards.empty()) {
    std::vector<std::string> names;
    names.reserve(cards.size());
    for (const GpuModel* card : cards) names.push_back(fmt::format("{} ({:g} GB)", card->id, card->memory_gb));
    text += fmt::format("Cards on which it fits as it is: {}\n", fmt::join(names, ", "));
  }
  return text;
}

}  // namespace vramwise
