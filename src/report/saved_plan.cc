// See saved_plan.h.
#include "report/saved_plan.h"

#include <fmt/format.h>

#include "base/json.h"
#include "report/plan_shape.h"

namespace vramwise {

namespace {

Status read_step(const Json& c, StepSettings& step) {
  VRAMWISE_ASSIGN_OR_RETURN(step.micro_batch, json_get<std::int64_t>(c, "batch_size"));
  VRAMWISE_ASSIGN_OR_RETURN(step.seq_len, json_get<std::int64_t>(c, "max_seq_len"));
  VRAMWISE_ASSIGN_OR_RETURN(step.gradient_accumulation_steps, json_get<std::int64_t>(c, "gradient_accumulation_steps"));
  VRAMWISE_ASSIGN_OR_RETURN(const std::string precision, json_get<std::string>(c, "precision"));
  VRAMWISE_ASSIGN_OR_RETURN(step.precision, parse_precision(precision));
  VRAMWISE_ASSIGN_OR_RETURN(step.checkpointed_blocks, json_get<std::int64_t>(c, "checkpointed_blocks"));
  VRAMWISE_ASSIGN_OR_RETURN(step.offload_optimizer, json_get<bool>(c, "use_cpu_offload"));
  VRAMWISE_ASSIGN_OR_RETURN(step.loss_chunk_tokens, json_get<std::int64_t>(c, "loss_chunk_tokens"));
  VRAMWISE_RETURN_IF_ERROR(step_settings_from_json(to_json(step)));
  return Done{};
}

Status add_card(const Json& card, SavedPlan& saved) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::int64_t micro_batch, json_get<std::int64_t>(card, "micro_batch"));
  VRAMWISE_ASSIGN_OR_RETURN(const std::int64_t sequences, json_get<std::int64_t>(card, "sequences"));
  CardKnobs knobs;
  VRAMWISE_ASSIGN_OR_RETURN(knobs.checkpointed_blocks,
                            json_get_or<std::int64_t>(card, "checkpointed_blocks", saved.step.checkpointed_blocks));
  VRAMWISE_ASSIGN_OR_RETURN(knobs.loss_chunk_tokens,
                            json_get_or<std::int64_t>(card, "loss_chunk_tokens", saved.step.loss_chunk_tokens));
  if (micro_batch < 1 || sequences < 0 || knobs.checkpointed_blocks < 0 || knobs.loss_chunk_tokens < 1)
    return world_error("the plan's cards: a count is below its minimum");
  saved.micro_batches.push_back(micro_batch);
  saved.sequences.push_back(sequences);
  saved.knobs.push_back(knobs);
  return Done{};
}

}  // namespace

Result<SavedPlan> saved_plan_from_json(const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string schema, json_get_or<std::string>(json, "schema", ""));
  if (schema == "vramwise.plan_training") {
    VRAMWISE_ASSIGN_OR_RETURN(const std::string trainer, json_get_or<std::string>(json, "trainer", "another trainer"));
    return usage_error(fmt::format("the plan is for {}, not for vramwise train", trainer),
                       "`vramwise explain FILE` prints its train.py and the command that starts it; `vramwise plan` "
                       "without --for plans for vramwise train.");
  }
  VRAMWISE_RETURN_IF_ERROR(check_plan_shape(json));
  SavedPlan saved;
  const Json model = json.value("model", Json::object());
  VRAMWISE_ASSIGN_OR_RETURN(saved.model_name, json_get<std::string>(model, "name"));
  VRAMWISE_ASSIGN_OR_RETURN(saved.model, decoder_config_from_json(model.value("config", Json())));
  const Json c = json.value("configuration", Json::object());
  VRAMWISE_RETURN_IF_ERROR(read_step(c, saved.step));
  for (const Json& card : json.value("cards", Json::array())) VRAMWISE_RETURN_IF_ERROR(add_card(card, saved));
  if (saved.micro_batches.empty()) return world_error("the plan has no cards");
  return saved;
}

Status apply(const SavedPlan& saved, PlanRequest& request) {
  if (request.cards.size() != saved.micro_batches.size()) {
    return usage_error(
        fmt::format("the plan is for {} cards, and here are {}", saved.micro_batches.size(), request.cards.size()),
        "Plan anew for these cards; CUDA_VISIBLE_DEVICES chooses some of them.");
  }
  request.model = saved.model;
  request.model_name = saved.model_name;
  request.strategy = Strategy::kGuide;  // nothing is left to choose
  request.micro_batches = saved.micro_batches;
  request.sequences = saved.sequences;
  request.knobs = saved.knobs;
  request.overrides = {.micro_batch = saved.step.micro_batch,
                       .seq_len = saved.step.seq_len,
                       .gradient_accumulation_steps = saved.step.gradient_accumulation_steps,
                       .precision = saved.step.precision,
                       .checkpointed_blocks = saved.step.checkpointed_blocks,
                       .offload_optimizer = saved.step.offload_optimizer,
                       .loss_chunk_tokens = saved.step.loss_chunk_tokens};
  return Done{};
}

}  // namespace vramwise
