// Every number is checked against its range before a run is written: the trainer trusts run.json.
#include "cli/run_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vramwise::cli {
namespace {

Status require(bool holds, const char* flag, const std::string& rule) {
  if (holds) return Done{};
  return usage_error(fmt::format("{} is out of range", flag), fmt::format("It must be {}.", rule));
}

Status check_optimizer(const OptimizerSpec& o) {
  VRAMWISE_RETURN_IF_ERROR(
      require(std::isfinite(o.learning_rate) && o.learning_rate > 0, "--learning_rate", "above 0"));
  VRAMWISE_RETURN_IF_ERROR(require(o.min_learning_rate >= 0 && o.min_learning_rate <= o.learning_rate,
                                   "--min_learning_rate", "between 0 and --learning_rate"));
  VRAMWISE_RETURN_IF_ERROR(require(o.beta1 >= 0 && o.beta1 < 1, "--beta1", "at least 0 and below 1"));
  VRAMWISE_RETURN_IF_ERROR(require(o.beta2 >= 0 && o.beta2 < 1, "--beta2", "at least 0 and below 1"));
  VRAMWISE_RETURN_IF_ERROR(require(o.weight_decay >= 0, "--weight_decay", "0 or above"));
  VRAMWISE_RETURN_IF_ERROR(require(o.max_grad_norm >= 0, "--max_grad_norm", "0 (no clipping) or above"));
  return require(o.warmup_steps >= 0, "--warmup_steps", "0 or above");
}

Status check_schedule(const ScheduleSpec& s) {
  VRAMWISE_RETURN_IF_ERROR(require(s.max_steps >= 1, "--max_steps", "at least 1"));
  VRAMWISE_RETURN_IF_ERROR(require(s.eval_every >= 0, "--eval_every", "0 (only at the end) or above"));
  VRAMWISE_RETURN_IF_ERROR(require(s.eval_batches >= 1, "--eval_batches", "at least 1"));
  VRAMWISE_RETURN_IF_ERROR(require(s.save_every >= 0, "--save_every", "0 (only at the end) or above"));
  VRAMWISE_RETURN_IF_ERROR(require(s.log_every >= 1, "--log_every", "at least 1"));
  return require(s.sample_tokens >= 0, "--sample_tokens", "0 (no sample) or above");
}

}  // namespace

void RunOptions::add_to(CLI::App& command) {
  constexpr const char* kFiles = "Files";
  command.add_option("--data_dir", data.data_dir, "Folder with train.bin/val.bin, .txt or .jsonl")
      ->capture_default_str()
      ->group(kFiles);
  command.add_option("--tokenizer", data.tokenizer, "SentencePiece model (default: bytes)")->group(kFiles);
  command.add_option("--out_dir", out_dir, "Checkpoints, metrics and run.json go here")
      ->capture_default_str()
      ->group(kFiles);
  command.add_flag("--resume", resume, "Continue from the newest checkpoint in --out_dir")->group(kFiles);

  command
      .add_option("--init_from", init_from,
                  "Begin with these weights: a safetensors file, or a folder with model.safetensors")
      ->group(kFiles);

  constexpr const char* kOptimizer = "Optimizer (AdamW)";
  command.add_option("--learning_rate,--lr", optimizer.learning_rate, "Peak, after warm-up")
      ->capture_default_str()
      ->group(kOptimizer);
  command.add_option("--min_learning_rate", min_learning_rate, "End of the cosine (default: a tenth of the peak)")
      ->group(kOptimizer);
  command.add_option("--beta1", optimizer.beta1, "")->capture_default_str()->group(kOptimizer);
  command.add_option("--beta2", optimizer.beta2, "")->capture_default_str()->group(kOptimizer);
  command.add_option("--weight_decay", optimizer.weight_decay, "On matrices only")
      ->capture_default_str()
      ->group(kOptimizer);
  command.add_option("--max_grad_norm", optimizer.max_grad_norm, "0: no clipping")
      ->capture_default_str()
      ->group(kOptimizer);
  command.add_option("--warmup_steps", warmup_steps, "Default: a tenth of --max_steps, at most 100")->group(kOptimizer);

  constexpr const char* kSchedule = "Schedule";
  command.add_option("--max_steps", schedule.max_steps, "Optimizer steps")->capture_default_str()->group(kSchedule);
  command.add_option("--eval_every", schedule.eval_every, "Steps between evaluations; 0: only at the end")
      ->capture_default_str()
      ->group(kSchedule);
  command.add_option("--eval_batches", schedule.eval_batches, "Batches of 4096 tokens an evaluation, at most")
      ->capture_default_str()
      ->group(kSchedule);
  command.add_option("--save_every", schedule.save_every, "Steps between checkpoints; 0: only at the end")
      ->capture_default_str()
      ->group(kSchedule);
  command.add_option("--log_every", schedule.log_every, "Steps between progress lines (no terminal)")
      ->capture_default_str()
      ->group(kSchedule);
  command
      .add_option("--stop_at_val_loss", schedule.stop_at_val_loss,
                  "End once an evaluation is at or below this (nats a token)")
      ->group(kSchedule);
  command.add_option("--sample_tokens", schedule.sample_tokens, "Length of the text generated at the end")
      ->capture_default_str()
      ->group(kSchedule);
  command.add_option("--seed", schedule.seed, "")->capture_default_str()->group(kSchedule);
}

Status RunOptions::apply_to(RunSpec& spec) const {
  spec.data = data;
  spec.out_dir = out_dir;
  spec.resume = resume;
  spec.init_from = init_from;
  spec.schedule = schedule;
  VRAMWISE_RETURN_IF_ERROR(check_schedule(schedule));
  spec.optimizer = optimizer;
  spec.optimizer.min_learning_rate = min_learning_rate.value_or(optimizer.learning_rate / 10);
  spec.optimizer.warmup_steps = warmup_steps.value_or(std::min<std::int64_t>(100, schedule.max_steps / 10));
  return check_optimizer(spec.optimizer);
}

}  // namespace vramwise::cli
