// --deepspeed names a file as the `deepspeed` launcher and transformers' Trainer take it.

#include "cli/estimate_parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "estimate/deepspeed_config.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

namespace vramwise::cli {
namespace {

const char* precision_of(tape::DType computed) {
  if (computed == tape::DType::kFloat16) return "fp16";
  return computed == tape::DType::kBFloat16 ? "bf16" : "fp32";
}

constexpr const char* kOfEngine = "DeepSpeed's default";

class FromFile {
 public:
  FromFile(const CLI::App& command, std::string path, const DeepSpeedConfig& config, DeepSpeedFile& out)
      : command_(command), path_(std::move(path)), config_(config), out_(out) {}

  std::string source(const char* key) const { return fmt::format("{}: {}", path_, key); }
  /// Of what has a value whether the file has the key or not.
  std::string source_if_told(const char* key) const { return config_.told.contains(key) ? source(key) : kOfEngine; }

  /// `wanted` is of the file, `given` what the flag holds.
  template <typename T>
  Status take(const char* flag, const char* key, const T& wanted, T& given) {
    return take(flag, key, wanted, given, source(key));
  }
  template <typename T>
  Status take(const char* flag, const char* key, const T& wanted, T& given, std::string source) {
    if (command_.count(flag) > 0 && given != wanted && source == kOfEngine)
      return usage_error(
          fmt::format("{}, but {} does not say {}, and DeepSpeed's default is another", flag, path_, key),
          fmt::format("write {} into the file: DeepSpeed's engine goes by it", key));
    if (command_.count(flag) > 0 && given != wanted)
      return usage_error(fmt::format("{} and {} of {} say different things", flag, key, path_),
                         "DeepSpeed's engine goes by the file");
    given = wanted;
    out_.sources[flag] = std::move(source);
    return Done{};
  }

 private:
  const CLI::App& command_;
  std::string path_;
  const DeepSpeedConfig& config_;
  DeepSpeedFile& out_;
};

}  // namespace

void ParallelFlags::add_to(CLI::App& command, ParallelOptions& options) {
  command
      .add_option("--parallel", parallel,
                  "How several cards share the work: ddp (DistributedDataParallel), zero1 (with "
                  "ZeroRedundancyOptimizer), fsdp (fully_shard of each layer; "
                  "under bf16-mixed and fp16-mixed by its MixedPrecisionPolicy: shards and reductions in fp32), "
                  "deepspeed (its ZeRO), or tensor (transformers' tp_plan=\"auto\": parts of each layer, the same "
                  "batch on every card)")
      ->check(CLI::IsMember({"ddp", "zero1", "fsdp", "deepspeed", "tensor"}))
      ->capture_default_str();
  command.add_flag("--no_reshard_after_forward", no_reshard_after_forward,
                   "fsdp: layers keep their parameters from the forward to the backward pass");
  command
      .add_option("--offload", offload,
                  "fsdp: cpu keeps parameters, gradients and optimizer states on the host, the first two in pinned "
                  "memory (CPUOffloadPolicy)")
      ->check(CLI::IsMember({"none", "cpu"}))
      ->capture_default_str();
  command.add_flag("--gradient_as_bucket_view", options.gradients_are_views,
                   "ddp: gradients are views of the buckets that sum them");
  command.add_option("--deepspeed", deepspeed, "deepspeed: a ds_config.json, whose settings hold");
  command.add_option("--zero_stage", zero_stage, "deepspeed: the stage of ZeRO where no file is given, 1 to 3")
      ->capture_default_str();
}

Status ParallelFlags::choose(const CLI::App& command, const std::string& gpu, ParallelOptions& options) const {
  VRAMWISE_ASSIGN_OR_RETURN(const auto cards, parse_gpu_spec(gpu));
  constexpr std::pair<const char*, Parallel> kKinds[] = {{"ddp", Parallel::kDataParallel},
                                                         {"zero1", Parallel::kDataParallel},
                                                         {"fsdp", Parallel::kFullyShard},
                                                         {"deepspeed", Parallel::kDeepSpeed},
                                                         {"tensor", Parallel::kTensor}};
  const bool by_file = !deepspeed.empty() && command.count("--parallel") == 0;
  const std::string name = by_file ? "deepspeed" : parallel;
  const auto kind = std::ranges::find(kKinds, name, [](const auto& each) { return each.first; })->second;
  options.shares_states = name == "zero1";
  const std::pair<const char*, Parallel> owned[] = {{"--gradient_as_bucket_view", Parallel::kDataParallel},
                                                    {"--no_reshard_after_forward", Parallel::kFullyShard},
                                                    {"--offload", Parallel::kFullyShard},
                                                    {"--deepspeed", Parallel::kDeepSpeed},
                                                    {"--zero_stage", Parallel::kDeepSpeed}};
  if (cards.size() == 1 && kind != Parallel::kDeepSpeed) {
    for (const auto& [flag, owner] : owned)
      if (command.count(flag) > 0 || command.count("--parallel") > 0)
        return usage_error(fmt::format("{} means nothing on one card", command.count(flag) > 0 ? flag : "--parallel"),
                           "--gpu 8xh100-80gb names eight");
    return Done{};
  }
  for (const auto& [flag, owner] : owned)
    if (command.count(flag) > 0 && owner != kind) return usage_error(fmt::format("{} means nothing to {}", flag, name));
  if (command.count("--zero_stage") > 0 && !deepspeed.empty())
    return usage_error("--zero_stage and --deepspeed both give the stage", "the file's holds; leave the flag out");
  options.offloads = offload == "cpu";
  options.kind = kind;
  options.ranks = static_cast<int>(cards.size());
  options.reshards_after_forward = !no_reshard_after_forward;
  options.deepspeed.stage = zero_stage;
  options.deepspeed.overlaps = zero_stage == 3;
  return Done{};
}

Result<DeepSpeedFile> read_deepspeed(const CLI::App& command, const ParallelFlags& flags, std::int64_t hidden_size,
                                     TrainingSettings& settings) {
  DeepSpeedFile out;
  if (flags.deepspeed.empty()) return out;
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(flags.deepspeed));
  VRAMWISE_ASSIGN_OR_RETURN(DeepSpeedConfig config, parse_deepspeed_config(text, flags.deepspeed));
  VRAMWISE_RETURN_IF_ERROR(fill_sizes(config, hidden_size, flags.deepspeed));
  settings.parallel.deepspeed = config.options;
  FromFile file(command, flags.deepspeed, config, out);
  for (const char* key :
       {"reduce_bucket_size", "overlap_comm", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold"})
    out.sources[key] = file.source_if_told(key);
  VRAMWISE_ASSIGN_OR_RETURN(const DeepSpeedBatch batch,
                            share_out_batch(config, settings.parallel.ranks, settings.micro_batch,
                                            settings.gradient_accumulation_steps, flags.deepspeed));
  const auto key_of = [](bool is_told, const char* key) { return is_told ? key : "train_batch_size"; };
  if (batch.micro_batch && !config.leaves_micro_batch)
    VRAMWISE_RETURN_IF_ERROR(file.take("--batch_size",
                                       key_of(config.micro_batch.has_value(), "train_micro_batch_size_per_gpu"),
                                       *batch.micro_batch, settings.micro_batch));
  if (batch.passes && !config.leaves_passes)
    VRAMWISE_RETURN_IF_ERROR(file.take("--gradient_accumulation_steps",
                                       key_of(config.passes.has_value(), "gradient_accumulation_steps"), *batch.passes,
                                       settings.gradient_accumulation_steps));
  if (config.clips)
    VRAMWISE_RETURN_IF_ERROR(file.take("--no_clip", "gradient_clipping", *config.clips, settings.clips_gradients,
                                       file.source_if_told("gradient_clipping")));
  if (config.computed) {
    out.precision = precision_of(*config.computed);
    out.sources["--precision"] = fmt::format("{}: fp16, bf16", flags.deepspeed);
  }
  if (config.optimizer) {
    out.optimizer = training_optimizer_name(*config.optimizer);
    out.sources["--optimizer"] = fmt::format("{}: optimizer", flags.deepspeed);
  }
  return out;
}

}  // namespace vramwise::cli
