// Only micro-batch, accumulation, checkpointing and offload may differ between the parts of a run without a word: they
// change what is computed by no more than rounding.
#include "cli/resume.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace vramwise::cli {
namespace {

/// What decides how weights come about, under the names of run.json.
Json training_of(const RunSpec& spec) {
  const Json all = to_json(spec);
  const Json& schedule = all.at("schedule");
  return {{"seq_len", spec.step.seq_len},     {"effective_batch", spec.effective_batch_size()},
          {"optimizer", all.at("optimizer")}, {"max_steps", schedule.at("max_steps")},
          {"seed", schedule.at("seed")},      {"data", all.at("data")}};
}

std::string about_the_position(const EarlierRun& earlier, const RunSpec& spec) {
  const std::int64_t tokens = earlier.sequences * earlier.run.step.seq_len;
  return fmt::format(
      "--resume: the {} tokens seen so far count as {} sequences of {}; until the epoch ends some text comes twice and "
      "some not at all",
      tokens, (tokens + spec.step.seq_len - 1) / spec.step.seq_len, spec.step.seq_len);
}

}  // namespace

void take_over(const EarlierRun& earlier, const CLI::App& command, RunOptions& options) {
  const auto given = [&](const char* flag) { return command.get_option(flag)->count() > 0; };
  const auto keep = [&](const char* flag, auto& value, const auto& old) {
    if (!given(flag)) value = old;
  };
  const RunSpec& run = earlier.run;
  keep("--data_dir", options.data.data_dir, run.data.data_dir);
  keep("--tokenizer", options.data.tokenizer, run.data.tokenizer);

  OptimizerSpec& optimizer = options.optimizer;
  optimizer.eps = run.optimizer.eps;
  keep("--learning_rate", optimizer.learning_rate, run.optimizer.learning_rate);
  keep("--beta1", optimizer.beta1, run.optimizer.beta1);
  keep("--beta2", optimizer.beta2, run.optimizer.beta2);
  keep("--weight_decay", optimizer.weight_decay, run.optimizer.weight_decay);
  keep("--max_grad_norm", optimizer.max_grad_norm, run.optimizer.max_grad_norm);
  keep("--warmup_steps", options.warmup_steps, run.optimizer.warmup_steps);
  // The end of the cosine keeps its proportion to a peak that is given anew.
  const double proportion = run.optimizer.min_learning_rate / run.optimizer.learning_rate;
  const bool new_peak = optimizer.learning_rate != run.optimizer.learning_rate;
  keep("--min_learning_rate", options.min_learning_rate,
       new_peak ? optimizer.learning_rate * proportion : run.optimizer.min_learning_rate);

  ScheduleSpec& schedule = options.schedule;
  keep("--max_steps", schedule.max_steps, run.schedule.max_steps);
  keep("--eval_every", schedule.eval_every, run.schedule.eval_every);
  keep("--eval_batches", schedule.eval_batches, run.schedule.eval_batches);
  keep("--save_every", schedule.save_every, run.schedule.save_every);
  keep("--log_every", schedule.log_every, run.schedule.log_every);
  keep("--stop_at_val_loss", schedule.stop_at_val_loss, run.schedule.stop_at_val_loss);
  keep("--sample_tokens", schedule.sample_tokens, run.schedule.sample_tokens);
  keep("--seed", schedule.seed, run.schedule.seed);
}

void take_over(const EarlierRun& earlier, Overrides& overrides) {
  const StepSettings& step = earlier.run.step;
  overrides.seq_len = overrides.seq_len.value_or(step.seq_len);
  overrides.precision = overrides.precision.value_or(step.precision);
  std::int64_t chunk = step.loss_chunk_tokens;
  for (const ReplicaSpec& replica : earlier.run.replicas)
    chunk = std::min(chunk, earlier.run.settings_of(replica).loss_chunk_tokens);
  overrides.loss_chunk_tokens = overrides.loss_chunk_tokens.value_or(chunk);
  if (!overrides.micro_batch || !overrides.gradient_accumulation_steps)
    overrides.effective_batch = earlier.run.effective_batch_size();
}

Result<DecoderConfig> model_to_continue(const EarlierRun& earlier, const std::optional<DecoderConfig>& asked) {
  if (!asked || *asked == earlier.run.model) return earlier.run.model;
  return usage_error("--resume: the flags describe a model with other dimensions than that of the run",
                     "Leave them out to continue the run, or begin a new one in another folder.");
}

std::string name_of_model(const DecoderConfig& model) {
  for (const char* name : {"tiny", "small", "medium", "large"}) {
    Result<DecoderConfig> preset = model_preset(name);
    if (!preset.ok()) continue;
    preset->vocab_size = model.vocab_size;
    if (*preset == model) return name;
  }
  return "custom";
}

Result<std::vector<std::string>> changes_of_training(const EarlierRun& earlier, const RunSpec& spec) {
  if (spec.step.precision != earlier.run.step.precision) {
    return usage_error(fmt::format("--resume: the run was trained in {}, not in {}",
                                   precision_name(earlier.run.step.precision), precision_name(spec.step.precision)),
                       "Leave --precision out to continue it, or begin a new run in another folder.");
  }
  const bool other_length = spec.step.seq_len != earlier.run.step.seq_len;
  if (other_length && !earlier.is_sealed) {
    return usage_error(
        "--resume: this checkpoint's format does not say how long its sequences are, so --seq_len cannot "
        "be changed",
        "Leave --seq_len out, or continue for a step first: the next checkpoint says it.");
  }
  const Json before = training_of(earlier.run).flatten();
  const Json now = training_of(spec).flatten();
  std::vector<std::string> changes;
  for (const auto& [key, value] : now.items()) {
    if (before.contains(key) && before.at(key) == value) continue;
    const std::string old = before.contains(key) ? before.at(key).dump() : "nothing";
    changes.push_back(fmt::format("ATTENTION: --resume: a flag changes this training: {} {} -> {}", key.substr(1), old,
                                  value.dump()));
  }
  if (other_length) changes.push_back(about_the_position(earlier, spec));
  return changes;
}

}  // namespace vramwise::cli
