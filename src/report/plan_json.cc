// Adding a key is a compatible change; renaming or removing one is not: raise kPlanSchemaVersion then.
#include "report/plan_json.h"

#include <algorithm>

#include "base/json.h"
#include "report/risk.h"

namespace vramwise {
namespace {

const char* origin_name(CardOrigin origin) {
  switch (origin) {
    case CardOrigin::kDetected:
      return "detected";
    case CardOrigin::kChosen:
      return "chosen";
    case CardOrigin::kAssumed:
      return "assumed";
    case CardOrigin::kHost:
      return "host";
  }
  return "?";
}

const char* target_kind(VramTarget::Kind kind) {
  switch (kind) {
    case VramTarget::Kind::kAuto:
      return "auto";
    case VramTarget::Kind::kCustom:
      return "custom";
    case VramTarget::Kind::kPreset:
      return "preset";
  }
  return "?";
}

Json ledger_json(const Ledger& ledger) {
  const Breakdown& parts = ledger.at_peak;
  return {{"allocated_bytes", ledger.allocated.count()},
          {"reserved_bytes", ledger.reserved.count()},
          {"device_bytes", ledger.device.count()},
          {"offloaded_bytes", ledger.offloaded.count()},
          {"phase", phase_name(ledger.phase)},
          {"at_peak",
           {{"weights_bytes", parts.weights.count()},
            {"gradients_bytes", parts.gradients.count()},
            {"optimizer_states_bytes", parts.optimizer_states.count()},
            {"activations_bytes", parts.activations.count()},
            {"loss_bytes", parts.loss.count()},
            {"temporaries_bytes", parts.temporaries.count()},
            {"workspaces_bytes", parts.workspaces.count()}}}};
}

Json card_json(const CardPlan& plan) {
  return {{"name", plan.card.name},
          {"device", plan.card.device},
          {"backend", plan.card.backend == Backend::kCuda ? "cuda" : "cpu"},
          {"shown_total_bytes", plan.card.shown_total.count()},
          {"budget_bytes", plan.card.budget.count()},
          {"target_bytes", plan.target.count()},
          {"holds_optimizer", plan.holds_optimizer},
          {"usable_bytes", plan.usable.count()},
          {"micro_batch", plan.micro_batch},
          {"sequences", plan.sequences},
          {"checkpointed_blocks", plan.knobs.checkpointed_blocks},
          {"loss_chunk_tokens", plan.knobs.loss_chunk_tokens},
          {"peak", ledger_json(plan.ledger)}};
}

Json settings_json(const StepSettings& step) {
  return {{"batch_size", step.micro_batch},
          {"gradient_accumulation_steps", step.gradient_accumulation_steps},
          {"max_seq_len", step.seq_len},
          {"precision", precision_name(step.precision)},
          {"use_fp16", step.precision != Precision::kFp32},
          {"use_gradient_checkpointing", step.checkpointed_blocks > 0},
          {"checkpointed_blocks", step.checkpointed_blocks},
          {"use_cpu_offload", step.offload_optimizer},
          {"loss_chunk_tokens", step.loss_chunk_tokens}};
}

Json decision_json(const Decision& d) {
  return {{"knob", d.knob},
          {"change", d.change},
          {"reason", d.reason},
          {"saved_bytes", d.saved ? Json(d.saved->count()) : Json()},
          {"slowdown", d.slowdown ? Json(*d.slowdown) : Json()}};
}

bool uses_checkpointing(const Plan& plan) {
  return std::any_of(plan.cards.begin(), plan.cards.end(),
                     [](const CardPlan& card) { return card.knobs.checkpointed_blocks > 0; });
}

Json time_json(const Plan& plan) {
  return {{"step_s", plan.step_seconds},
          {"tokens_per_s", plan.tokens_per_s()},
          {"is_known", plan.time_is_known},
          {"rates_from", plan.cards.front().card.rates.source}};
}

}  // namespace

Json changes_json(const std::vector<Alternative>& changes, const std::vector<const GpuModel*>& cards) {
  Json list = Json::array(), ids = Json::array();
  for (const Alternative& each : changes) {
    list.push_back({{"change", each.change},
                    {"changes_training", each.changes_training},
                    {"why", each.why},
                    {"configuration", settings_json(each.plan.step)},
                    {"tokens_per_s", each.plan.tokens_per_s()}});
  }
  for (const GpuModel* card : cards) ids.push_back(card->id);
  return {{"changes", list}, {"cards", ids}};
}

Json plan_json(const Plan& plan) {
  Json cards = Json::array();
  for (const CardPlan& card : plan.cards) cards.push_back(card_json(card));
  Json decisions = Json::array(), runner_ups = Json::array();
  for (const Decision& d : plan.decisions) decisions.push_back(decision_json(d));
  for (const RunnerUp& row : plan.runner_ups) {
    runner_ups.push_back({{"configuration", settings_json(row.step)},
                          {"batches", row.batches},
                          {"device_bytes", row.device.count()},
                          {"tokens_per_s", row.tokens_per_s}});
  }
  Json configuration = settings_json(plan.step);
  configuration["use_gradient_checkpointing"] = uses_checkpointing(plan);
  configuration["effective_batch_size"] = plan.effective_batch_size();
  configuration["description"] = plan.description;
  return {{"schema", "vramwise.plan"},
          {"schema_version", kPlanSchemaVersion},
          {"fits", true},
          {"strategy", strategy_name(plan.request.strategy)},
          {"model",
           {{"name", plan.request.model_name},
            {"parameters", parameter_count(plan.request.model)},
            {"config", to_json(plan.request.model)}}},
          {"target",
           {{"kind", target_kind(plan.request.target.kind)},
            {"total_bytes", plan.total_target.count()},
            {"safety_margin_bytes", plan.request.safety_margin.count()}}},
          {"cards_from", origin_name(plan.request.origin)},
          {"cards", cards},
          {"configuration", configuration},
          {"time", time_json(plan)},
          {"risk", risk_json(plan)},
          {"model_memory_bytes", plan.model_memory.count()},
          {"largest_batch_size_that_fits", largest_micro_batch_that_fits(plan)},
          {"decisions", decisions},
          {"runner_ups", runner_ups},
          {"gain_of_fastest", plan.gain},
          {"replays", plan.replays},
          {"notes", plan.notes}};
}

}  // namespace vramwise
