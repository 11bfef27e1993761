// The knobs of a step to and from JSON.
#include "estimate/step.h"

#include <fmt/format.h>

#include "base/json.h"

namespace vramwise {

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kFp16:
      return "fp16";
  }
  return "?";
}

Result<Precision> parse_precision(const std::string& name) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    if (name == precision_name(precision)) return precision;
  }
  return usage_error(fmt::format("unknown precision \"{}\"", name), "Known: fp32, bf16, fp16.");
}

std::int64_t precision_bytes(Precision precision) { return precision == Precision::kFp32 ? 4 : 2; }

CardKnobs knobs_of(const StepSettings& settings) {
  return {.checkpointed_blocks = settings.checkpointed_blocks, .loss_chunk_tokens = settings.loss_chunk_tokens};
}

StepSettings with_knobs(const StepSettings& settings, const CardKnobs& knobs) {
  StepSettings changed = settings;
  changed.checkpointed_blocks = knobs.checkpointed_blocks;
  changed.loss_chunk_tokens = knobs.loss_chunk_tokens;
  return changed;
}

Json to_json(const StepSettings& s) {
  return {{"micro_batch", s.micro_batch},
          {"seq_len", s.seq_len},
          {"gradient_accumulation_steps", s.gradient_accumulation_steps},
          {"precision", precision_name(s.precision)},
          {"checkpointed_blocks", s.checkpointed_blocks},
          {"loss_chunk_tokens", s.loss_chunk_tokens},
          {"offload_optimizer", s.offload_optimizer}};
}

Result<StepSettings> step_settings_from_json(const Json& json) {
  StepSettings s;
  VRAMWISE_ASSIGN_OR_RETURN(s.micro_batch, json_get<std::int64_t>(json, "micro_batch"));
  VRAMWISE_ASSIGN_OR_RETURN(s.seq_len, json_get<std::int64_t>(json, "seq_len"));
  VRAMWISE_ASSIGN_OR_RETURN(s.gradient_accumulation_steps, json_get<std::int64_t>(json, "gradient_accumulation_steps"));
  VRAMWISE_ASSIGN_OR_RETURN(const std::string precision, json_get<std::string>(json, "precision"));
  VRAMWISE_ASSIGN_OR_RETURN(s.precision, parse_precision(precision));
  VRAMWISE_ASSIGN_OR_RETURN(s.checkpointed_blocks, json_get<std::int64_t>(json, "checkpointed_blocks"));
  VRAMWISE_ASSIGN_OR_RETURN(s.loss_chunk_tokens, json_get<std::int64_t>(json, "loss_chunk_tokens"));
  VRAMWISE_ASSIGN_OR_RETURN(s.offload_optimizer, json_get<bool>(json, "offload_optimizer"));
  if (s.micro_batch < 1 || s.seq_len < 1 || s.gradient_accumulation_steps < 1 || s.loss_chunk_tokens < 1 ||
      s.checkpointed_blocks < 0) {
    return world_error("step settings: a count is below its minimum");
  }
  return s;
}

}  // namespace vramwise
