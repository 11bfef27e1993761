// A run to and from JSON: every key is required, so that a run from another version is noticed.
#include "run/run_spec.h"

#include <fmt/format.h>

#include "base/json.h"

namespace vramwise {
namespace {

Json to_json(const ReplicaSpec& r) {
  Json json = {{"device", r.device},
               {"micro_batch", r.micro_batch},
               {"sequences", r.sequences},
               {"predicted_peak_bytes", r.predicted_peak.count()},
               {"budget_bytes", r.budget.count()}};
  if (r.knobs) {
    json["checkpointed_blocks"] = r.knobs->checkpointed_blocks;
    json["loss_chunk_tokens"] = r.knobs->loss_chunk_tokens;
  }
  return json;
}

Json to_json(const OptimizerSpec& o) {
  return {{"learning_rate", o.learning_rate},
          {"min_learning_rate", o.min_learning_rate},
          {"beta1", o.beta1},
          {"beta2", o.beta2},
          {"eps", o.eps},
          {"weight_decay", o.weight_decay},
          {"max_grad_norm", o.max_grad_norm},
          {"warmup_steps", o.warmup_steps}};
}

Json to_json(const ScheduleSpec& s) {
  Json json = {{"max_steps", s.max_steps},         {"eval_every", s.eval_every},
               {"eval_batches", s.eval_batches},   {"save_every", s.save_every},
               {"log_every", s.log_every},         {"stop_at_val_loss", nullptr},
               {"sample_tokens", s.sample_tokens}, {"seed", s.seed}};
  if (s.stop_at_val_loss) json["stop_at_val_loss"] = *s.stop_at_val_loss;
  return json;
}

Result<ReplicaSpec> replica_from_json(const Json& json) {
  ReplicaSpec r;
  VRAMWISE_ASSIGN_OR_RETURN(r.device, json_get<std::string>(json, "device"));
  VRAMWISE_ASSIGN_OR_RETURN(r.micro_batch, json_get<std::int64_t>(json, "micro_batch"));
  VRAMWISE_ASSIGN_OR_RETURN(r.sequences, json_get_or<std::int64_t>(json, "sequences", 0));
  VRAMWISE_ASSIGN_OR_RETURN(const auto peak, json_get<std::int64_t>(json, "predicted_peak_bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(const auto budget, json_get<std::int64_t>(json, "budget_bytes"));
  r.predicted_peak = Bytes(peak);
  r.budget = Bytes(budget);
  if (r.micro_batch < 1) return world_error("replicas: micro_batch is below 1");
  if (json.contains("checkpointed_blocks")) {
    r.knobs.emplace();
    VRAMWISE_ASSIGN_OR_RETURN(r.knobs->checkpointed_blocks, json_get<std::int64_t>(json, "checkpointed_blocks"));
    VRAMWISE_ASSIGN_OR_RETURN(r.knobs->loss_chunk_tokens, json_get<std::int64_t>(json, "loss_chunk_tokens"));
    if (r.knobs->checkpointed_blocks < 0 || r.knobs->loss_chunk_tokens < 1)
      return world_error("replicas: checkpointed_blocks or loss_chunk_tokens is below its minimum");
  }
  return r;
}

Result<OptimizerSpec> optimizer_from_json(const Json& json) {
  OptimizerSpec o;
  VRAMWISE_ASSIGN_OR_RETURN(o.learning_rate, json_get<double>(json, "learning_rate"));
  VRAMWISE_ASSIGN_OR_RETURN(o.min_learning_rate, json_get<double>(json, "min_learning_rate"));
  VRAMWISE_ASSIGN_OR_RETURN(o.beta1, json_get<double>(json, "beta1"));
  VRAMWISE_ASSIGN_OR_RETURN(o.beta2, json_get<double>(json, "beta2"));
  VRAMWISE_ASSIGN_OR_RETURN(o.eps, json_get<double>(json, "eps"));
  VRAMWISE_ASSIGN_OR_RETURN(o.weight_decay, json_get<double>(json, "weight_decay"));
  VRAMWISE_ASSIGN_OR_RETURN(o.max_grad_norm, json_get<double>(json, "max_grad_norm"));
  VRAMWISE_ASSIGN_OR_RETURN(o.warmup_steps, json_get<std::int64_t>(json, "warmup_steps"));
  return o;
}

Result<ScheduleSpec> schedule_from_json(const Json& json) {
  ScheduleSpec s;
  VRAMWISE_ASSIGN_OR_RETURN(s.max_steps, json_get<std::int64_t>(json, "max_steps"));
  VRAMWISE_ASSIGN_OR_RETURN(s.eval_every, json_get<std::int64_t>(json, "eval_every"));
  VRAMWISE_ASSIGN_OR_RETURN(s.eval_batches, json_get<std::int64_t>(json, "eval_batches"));
  VRAMWISE_ASSIGN_OR_RETURN(s.save_every, json_get<std::int64_t>(json, "save_every"));
  VRAMWISE_ASSIGN_OR_RETURN(s.log_every, json_get<std::int64_t>(json, "log_every"));
  VRAMWISE_ASSIGN_OR_RETURN(s.sample_tokens, json_get<std::int64_t>(json, "sample_tokens"));
  VRAMWISE_ASSIGN_OR_RETURN(s.seed, json_get<std::uint64_t>(json, "seed"));
  if (json.contains("stop_at_val_loss") && !json.at("stop_at_val_loss").is_null()) {
    VRAMWISE_ASSIGN_OR_RETURN(s.stop_at_val_loss, json_get<double>(json, "stop_at_val_loss"));
  }
  return s;
}

Result<Json> section(const Json& json, const char* key) {
  if (json.is_object() && json.contains(key)) return json.at(key);
  return world_error(fmt::format("key \"{}\" is missing", key));
}

}  // namespace

std::int64_t eval_sequences(const ScheduleSpec& schedule, std::int64_t seq_len) {
  return (schedule.eval_batches * kEvalBatchTokens + seq_len - 1) / seq_len;
}

StepSettings RunSpec::settings_of(const ReplicaSpec& replica) const {
  return replica.knobs ? with_knobs(step, *replica.knobs) : step;
}

std::int64_t RunSpec::effective_batch_size() const {
  if (effective_batch > 0) return effective_batch;
  std::int64_t sequences = 0;
  for (const ReplicaSpec& replica : replicas) sequences += replica.micro_batch * step.gradient_accumulation_steps;
  return sequences;
}

Json to_json(const RunSpec& spec) {
  Json replicas = Json::array();
  for (const ReplicaSpec& replica : spec.replicas) replicas.push_back(to_json(replica));
  return {{"model", to_json(spec.model)},
          {"step", to_json(spec.step)},
          {"replicas", replicas},
          {"effective_batch", spec.effective_batch},
          {"optimizer", to_json(spec.optimizer)},
          {"schedule", to_json(spec.schedule)},
          {"data", {{"data_dir", spec.data.data_dir}, {"tokenizer", spec.data.tokenizer}}},
          {"out_dir", spec.out_dir},
          {"resume", spec.resume},
          {"init_from", spec.init_from}};
}

Result<RunSpec> run_spec_from_json(const Json& json) {
  RunSpec spec;
  VRAMWISE_ASSIGN_OR_RETURN(const Json model, section(json, "model"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.model, decoder_config_from_json(model));
  VRAMWISE_ASSIGN_OR_RETURN(const Json step, section(json, "step"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.step, step_settings_from_json(step));
  VRAMWISE_ASSIGN_OR_RETURN(const Json replicas, section(json, "replicas"));
  for (const Json& replica : replicas) {
    VRAMWISE_ASSIGN_OR_RETURN(ReplicaSpec one, replica_from_json(replica));
    spec.replicas.push_back(std::move(one));
  }
  if (spec.replicas.empty()) return world_error("key \"replicas\": at least one was expected");
  VRAMWISE_ASSIGN_OR_RETURN(spec.effective_batch, json_get_or<std::int64_t>(json, "effective_batch", 0));
  if (spec.effective_batch < 0) return world_error("key \"effective_batch\": a number of sequences was expected");
  VRAMWISE_ASSIGN_OR_RETURN(const Json optimizer, section(json, "optimizer"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.optimizer, optimizer_from_json(optimizer));
  VRAMWISE_ASSIGN_OR_RETURN(const Json schedule, section(json, "schedule"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.schedule, schedule_from_json(schedule));
  VRAMWISE_ASSIGN_OR_RETURN(const Json data, section(json, "data"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.data.data_dir, json_get<std::string>(data, "data_dir"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.data.tokenizer, json_get<std::string>(data, "tokenizer"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.out_dir, json_get<std::string>(json, "out_dir"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.resume, json_get<bool>(json, "resume"));
  VRAMWISE_ASSIGN_OR_RETURN(spec.init_from, json_get_or<std::string>(json, "init_from", ""));
  return spec;
}

}  // namespace vramwise
