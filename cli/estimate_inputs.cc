// In the order in which the report shows them; what a file of DeepSpeed says has that as its source.
#include "cli/estimate_inputs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <utility>

#include "base/units.h"
#include "cli/checkpointing_flag.h"

namespace vramwise::cli {
namespace {

const char* loss_text(LossKind loss) {
  if (loss == LossKind::kLiger) return "fused with the head (Liger-Kernel)";
  return loss == LossKind::kChunked ? "in tiles, with the head (TRL)" : "of all logits";
}

class Inputs {
 public:
  Inputs(const CLI::App& command, const std::map<std::string, std::string>& sources)
      : command_(command), sources_(sources) {}

  void add(const char* name, std::string value, const char* flag) {
    const auto source = sources_.find(flag);
    const std::string fallback = source == sources_.end() ? "default" : source->second;
    add(name, std::move(value), command_.count(flag) > 0 ? std::string(flag) : fallback);
  }
  void add(const char* name, std::string value, std::string source) {
    list_.push_back({name, std::move(value), std::move(source)});
  }
  std::vector<EstimateInput> take() { return std::move(list_); }

 private:
  const CLI::App& command_;
  const std::map<std::string, std::string>& sources_;  ///< of flags that were not given
  std::vector<EstimateInput> list_;
};

void add_lora(Inputs& inputs, const EstimateArguments& arguments) {
  const TrainingSettings& s = arguments.settings;
  inputs.add("LoRA rank", s.lora.is_on() ? std::to_string(s.lora.rank) : "off", "--lora_rank");
  if (!s.lora.is_on()) return;
  inputs.add("LoRA layers", s.lora.targets.empty() ? "all linear" : fmt::format("{}", fmt::join(s.lora.targets, ", ")),
             "--lora_targets");
  inputs.add("LoRA dropout", fmt::format("{}", s.lora.dropout), "--lora_dropout");
  inputs.add("DoRA", s.lora.uses_dora ? "on" : "off", "--lora_use_dora");
  inputs.add("modules trained whole",
             s.lora.modules_to_save.empty() ? "none" : fmt::format("{}", fmt::join(s.lora.modules_to_save, ", ")),
             "--lora_modules_to_save");
  inputs.add("4-bit weights", arguments.quantize.empty() ? "off" : arguments.quantize, "--quantize");
}

void add_deepspeed(Inputs& inputs, const EstimateArguments& arguments) {
  const TrainingSettings& s = arguments.settings;
  const tape::DeepSpeedOptions& zero = s.parallel.deepspeed;
  inputs.add(
      "parallel",
      fmt::format("DeepSpeed's ZeRO-{} over {} card{}", zero.stage, s.parallel.ranks, s.parallel.ranks > 1 ? "s" : ""),
      arguments.parallel.deepspeed.empty() ? "--zero_stage" : "--deepspeed");
  inputs.add("reduce_bucket_size", format_count(zero.reduce_bucket_size),
             arguments.deepspeed.source_of("reduce_bucket_size"));
  inputs.add("overlap_comm", zero.overlaps ? "on" : "off", arguments.deepspeed.source_of("overlap_comm"));
  if (zero.stage == 3) {
    inputs.add("stage3_prefetch_bucket_size", format_count(zero.zero3.prefetch_bucket_size),
               arguments.deepspeed.source_of("stage3_prefetch_bucket_size"));
    inputs.add("stage3_param_persistence_threshold", format_count(zero.zero3.persistence_threshold),
               arguments.deepspeed.source_of("stage3_param_persistence_threshold"));
  }
}

void add_parallel(Inputs& inputs, const EstimateArguments& arguments) {
  const TrainingSettings& s = arguments.settings;
  if (s.parallel.kind == Parallel::kDataParallel) {
    inputs.add("parallel",
               fmt::format("DistributedDataParallel{} over {} cards",
                           s.parallel.shares_states ? ", ZeroRedundancyOptimizer" : "", s.parallel.ranks),
               "--parallel");
    inputs.add("gradients are views of buckets", s.parallel.gradients_are_views ? "yes" : "no",
               "--gradient_as_bucket_view");
  } else if (s.parallel.kind == Parallel::kFullyShard) {
    inputs.add("parallel", fmt::format("fully_shard (FSDP2) over {} cards", s.parallel.ranks), "--parallel");
    inputs.add("layers are resharded after forward", s.parallel.reshards_after_forward ? "yes" : "no",
               "--no_reshard_after_forward");
    inputs.add("parameters, gradients, states", s.parallel.offloads ? "on the host (CPUOffloadPolicy)" : "on the card",
               "--offload");
  }
  if (s.parallel.kind == Parallel::kTensor)
    inputs.add("parallel", fmt::format("tensor parallelism of transformers over {} cards", s.parallel.ranks),
               "--parallel");
  if (s.parallel.kind == Parallel::kDeepSpeed) add_deepspeed(inputs, arguments);
}

}  // namespace

std::vector<EstimateInput> inputs_of(const CLI::App& command, const EstimateArguments& arguments,
                                     const NamedModel& configuration) {
  const TrainingSettings& s = arguments.settings;
  Inputs inputs(command, arguments.deepspeed.sources);
  inputs.add("architecture",
             fmt::format("{}, {} layers", configuration.model.model_type, configuration.model.architecture.layers),
             configuration.path);
  inputs.add("micro-batch", std::to_string(s.micro_batch), "--batch_size");
  const BatchKind& takes = configuration.model.architecture.takes;
  if (takes.texts) inputs.add("tokens a sequence", std::to_string(s.seq_len), "--seq_len");
  if (takes.targets) inputs.add("tokens a target", std::to_string(s.target_len), "--target_len");
  if (takes.image_size > 0)
    inputs.add("image size", std::to_string(s.image_size > 0 ? s.image_size : takes.image_size), "--image_size");
  inputs.add("gradient accumulation", std::to_string(s.gradient_accumulation_steps), "--gradient_accumulation_steps");
  if (arguments.precision.empty() && configuration.model.saved_dtype.has_value()) {
    inputs.add("precision", training_precision_name(s.precision), configuration.path + ": dtype");
  } else {
    inputs.add("precision", training_precision_name(s.precision), "--precision");
  }
  inputs.add("optimizer", arguments.optimizer, "--optimizer");
  inputs.add("attention", arguments.attention, "--attention");
  inputs.add("gradient checkpointing", checkpointing_text(s.checkpointing), "--gradient_checkpointing");
  add_lora(inputs, arguments);
  add_parallel(inputs, arguments);
  inputs.add("optimizer steps", std::to_string(s.steps), "--steps");
  inputs.add("loss", loss_text(s.loss), "--loss");
  inputs.add("gradient clipping", s.clips_gradients ? "on" : "off", "--no_clip");
  inputs.add("cache of keys and values", s.uses_cache ? "on" : "off", "--no_use_cache");
  inputs.add("expandable segments", arguments.expandable_segments ? "on" : "off", "--expandable_segments");
  inputs.add("card", arguments.gpu, "--gpu");
  return inputs.take();
}

}  // namespace vramwise::cli
