// The report block has three layouts: one card, several cards, no card. Keys, order and spacing are fixed
// (tests/golden); only values vary.
#include "report/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/units.h"
#include "plan/candidate.h"
#include "report/plan_search_text.h"

namespace vramwise {
namespace {

constexpr int kRuleWidth = 60;

std::string rule() { return std::string(kRuleWidth, '=') + "\n"; }

std::string heading(const char* title) { return rule() + title + "\n" + rule(); }

/// "1GB", "0.49GB": GiB with at most two decimals and no trailing zeros.
std::string short_gib(Bytes bytes) {
  std::string text = fmt::format("{:.2f}", bytes.in_gib());
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return fmt::format("{}GB", text);
}

std::string with_thousands(std::int64_t value) {
  const std::string digits = std::to_string(value < 0 ? -value : value);
  std::string text = value < 0 ? "-" : "";
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

std::string card_lines(const Plan& plan) {
  const PlanRequest& request = plan.request;
  std::string text;
  switch (request.origin) {
    case CardOrigin::kHost:
      text += "Detected GPUs: 0\n";
      text += fmt::format("  CPU: {} ({} GB host memory)\n", request.cards.front().name,
                          format_gib(request.cards.front().shown_total));
      return text;
    case CardOrigin::kAssumed:
      text += "Detected GPUs: 0\n";
      text += fmt::format("  Planned for: a card with {} GB\n", format_gib(plan.cards.front().target));
      return text;
    case CardOrigin::kChosen:
      text += fmt::format("Planned GPUs: {}\n", request.cards.size());
      break;
    case CardOrigin::kDetected:
      text += fmt::format("Detected GPUs: {}\n", request.cards.size());
      break;
  }
  for (std::size_t i = 0; i < request.cards.size(); ++i) {
    text += fmt::format("  GPU {}: {} ({} GB)\n", i, request.cards[i].name, format_gib(request.cards[i].shown_total));
  }
  return text;
}

std::string one_card_memory(const Plan& plan) {
  const CardPlan& card = plan.cards.front();
  const Bytes left = card.usable - plan.model_memory;
  std::string text;
  text += fmt::format("Target VRAM: {} GB\n", format_gib(card.target));
  text += fmt::format("Safety Margin: {} MB ({})\n", format_mib(plan.request.safety_margin),
                      short_gib(plan.request.safety_margin));
  text += fmt::format("Usable VRAM: {} GB ({} MB)\n", format_gib(card.usable), format_mib(card.usable));
  text += '\n';
  text += fmt::format("Estimated Model Memory: {} MB ({} GB)\n", format_mib(plan.model_memory),
                      format_gib(plan.model_memory));
  text += fmt::format("Available for Batches: {} MB ({} GB)\n", format_mib(left), format_gib(left));
  return text;
}

// The totals lose the margin once, as the block does; the plan itself takes it from each card, which the lines below
// say.
std::string several_cards_memory(const Plan& plan) {
  const PlanRequest& request = plan.request;
  Bytes total;
  for (const Card& card : request.cards) total += card.shown_total;
  const Bytes usable = plan.total_target - request.safety_margin;
  std::string text;
  text += fmt::format("Total VRAM: {} GB\n", format_gib(total));
  text += fmt::format("Target VRAM: {} GB\n", format_gib(plan.total_target));
  text += fmt::format("Usable VRAM: {} GB ({}MB after {}MB safety margin)\n", format_gib(usable),
                      with_thousands(std::llround(usable.in_mib())), format_mib(request.safety_margin));
  text += '\n';
  // One GPU holds the optimizer's states.
  const std::size_t holder = plan.optimizer_card();
  const Bytes others = plan.cards[holder == 0 ? 1 : 0].model_memory();
  text += fmt::format("Estimated Model Memory: {} MB ({} GB) on GPU {}, {} MB ({} GB) on each other\n",
                      format_mib(plan.model_memory), format_gib(plan.model_memory), holder, format_mib(others),
                      format_gib(others));
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    const Bytes left = plan.cards[i].usable - plan.cards[i].model_memory();
    text += fmt::format("Available for Batches on GPU {}: {} MB ({} GB of {} GB usable)\n", i, format_mib(left),
                        format_gib(left), format_gib(plan.cards[i].usable));
  }
  return text;
}

std::string setting(const char* key, const std::string& value) { return fmt::format("  {:<30}: {}\n", key, value); }

const char* yes_no(bool value) { return value ? "True" : "False"; }

std::string batch_sizes(const Plan& plan) {
  const bool equal = std::all_of(plan.cards.begin(), plan.cards.end(), [&](const CardPlan& card) {
    return card.micro_batch == plan.cards.front().micro_batch;
  });
  if (equal) return std::to_string(plan.step.micro_batch);
  std::vector<std::int64_t> sizes;
  sizes.reserve(plan.cards.size());
  for (const CardPlan& card : plan.cards) sizes.push_back(card.micro_batch);
  return fmt::format("{}", fmt::join(sizes, " + "));
}

std::string configuration(const Plan& plan) {
  const StepSettings& step = plan.step;
  std::string text = heading("Optimized Configuration");
  text += setting("batch_size", batch_sizes(plan));
  text += setting("gradient_accumulation_steps", std::to_string(step.gradient_accumulation_steps));
  text += setting("max_seq_len", std::to_string(step.seq_len));
  text += setting("use_fp16", yes_no(step.precision != Precision::kFp32));
  const bool recomputes = std::any_of(plan.cards.begin(), plan.cards.end(),
                                      [](const CardPlan& card) { return card.knobs.checkpointed_blocks > 0; });
  text += setting("use_gradient_checkpointing", yes_no(recomputes));
  text += setting("use_cpu_offload", yes_no(step.offload_optimizer));
  text += setting("effective_batch_size", std::to_string(plan.effective_batch_size()));
  text += setting("description", plan.description);
  return text + rule();
}

std::string share(const char* name, Bytes bytes) {
  return bytes == Bytes() ? "" : fmt::format("  {:<18} {:>12}\n", name, format_size(bytes));
}

std::string peak_of(const CardPlan& card, const std::string& where) {
  const Ledger& ledger = card.ledger;
  const Breakdown& parts = ledger.at_peak;
  std::string text = fmt::format("Predicted peak{} ({}):\n", where, phase_name(ledger.phase));
  text += share("weights", parts.weights);
  text += share("gradients", parts.gradients);
  text += share("optimizer states", parts.optimizer_states);
  text += share("activations", parts.activations);
  text += share("loss and logits", parts.loss);
  text += share("temporaries", parts.temporaries);
  text += share("workspaces", parts.workspaces);
  text += share("allocator slack", ledger.reserved - ledger.allocated);
  text += share("CUDA context", ledger.device - ledger.reserved);
  const double percent = 100.0 * static_cast<double>(ledger.device.count()) / static_cast<double>(card.usable.count());
  text += fmt::format("  {:<18} {:>12}  of {} usable ({:.0f} %)\n", "together", format_size(ledger.device),
                      format_size(card.usable), percent);
  if (ledger.offloaded != Bytes()) {
    text +=
        fmt::format("  {:<18} {:>12}  {}\n", "offloaded", format_size(ledger.offloaded),
                    card.card.backend == Backend::kCuda ? "in host memory" : "in a mapped file of the output folder");
  }
  return text;
}

std::string checkpointing_line(const Plan& plan) {
  const std::string blocks = knob_text(plan.cards, &CardKnobs::checkpointed_blocks);
  const std::int64_t layers = plan.request.model.n_layers;
  if (blocks == "0" || blocks == std::to_string(layers)) return {};
  const bool by_card = blocks != std::to_string(plan.step.checkpointed_blocks);
  return fmt::format("Checkpointing: the first {} of {} blocks{}\n", blocks, layers, by_card ? ", card by card" : "");
}

std::string reasons(const Plan& plan) {
  if (plan.request.strategy != Strategy::kGuide) return {};
  const bool by_flag = fixes_anything(plan.request.overrides);
  if (plan.decisions.empty() && by_flag) return "Configuration: the row of the table for this memory, and the flags\n";
  if (plan.decisions.empty()) return "Configuration: the row of the table for this memory, unchanged\n";
  std::string text = "Changed from the row of the table:\n";
  for (const Decision& decision : plan.decisions) {
    text += fmt::format("  {}: {} ({})\n", decision.knob, decision.change, decision.reason);
  }
  return text;
}

std::string room(const Plan& plan) {
  if (plan.request.strategy != Strategy::kGuide) return {};
  const std::int64_t largest = largest_micro_batch_that_fits(plan);
  if (largest <= plan.step.micro_batch) return {};
  return fmt::format("Room: up to --batch_size {} would fit; {} is kept\n", largest,
                     plan.request.overrides.micro_batch ? "yours" : "the table's row");
}

}  // namespace

std::string report_block(const Plan& plan) {
  const bool several = plan.cards.size() > 1;
  return heading("VRAM Optimizer") + "\n" + card_lines(plan) + "\n" +
         (several ? several_cards_memory(plan) : one_card_memory(plan)) + "\n" + configuration(plan);
}

std::string plan_text(const Plan& plan, TextStyle style) {
  const PlanRequest& request = plan.request;
  std::string text = report_block(plan) + "\n";
  text += fmt::format("Model: {} ({} parameters, vocabulary {}), {} compute\n", request.model_name,
                      format_count(parameter_count(request.model)), request.model.vocab_size,
                      precision_name(plan.step.precision));
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    text += peak_of(plan.cards[i], plan.cards.size() > 1 ? fmt::format(" on GPU {}", i) : "");
  }
  text += checkpointing_line(plan) + reasons(plan) + room(plan) + search_text(plan, style);
  for (const std::string& note : plan.notes) text += "Note: " + note + "\n";
  return text;
}

}  // namespace vramwise
