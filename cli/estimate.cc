// vramwise estimate: what training a Hugging Face model takes of a card, from its config.json, in a blink and without
// torch.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "cli/checkpointing_flag.h"
#include "cli/command.h"
#include "cli/estimate_parallel.h"
#include "cli/named_model.h"
#include "cost/work_time.h"
#include "estimate/training.h"
#include "gpus/cuda_facts.h"
#include "gpus/gpu_spec.h"
#include "gpus/nccl_memory.h"
#include "io/files.h"
#include "plan/training/words.h"
#include "report/training_html.h"
#include "report/training_report.h"

namespace vramwise::cli {
namespace {

/// Their events are kept: 100 steps of 405 B parameters are 50 MB.
constexpr int kMostSteps = 100;

struct EstimateArguments {
  std::string model;
  std::string gpu;
  TrainingSettings settings;
  std::string precision;
  std::string optimizer = "adamw";
  std::string attention = "sdpa";
  std::string gradient_checkpointing = "none";
  std::string loss = "whole";
  std::string quantize;
  ParallelFlags parallel;
  DeepSpeedFile deepspeed;
  bool no_clip = false;
  bool no_use_cache = false;
  bool expandable_segments = false;
  bool as_json = false;
  std::string html;
};

Result<TrainingReport> report_for_cards(const std::string& spec, const TrainingSettings& settings) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto cards, parse_gpu_spec(spec));
  const GpuModel& card = cards.front();
  for (const GpuModel& other : cards)
    if (other.name != card.name || other.cuda_total != card.cuda_total)
      return usage_error(fmt::format("--gpu {}: cards that differ are not estimated together", spec),
                         "with data parallelism every card holds what it would hold among its like");
  TrainingReport report;
  report.card = cards.size() == 1 ? card.name : fmt::format("each of {} {}", cards.size(), card.name);
  report.hardware.total = card.cuda_total;
  report.hardware.hardware = hardware_of(card);
  const int assumed = report.hardware.hardware.capability;
  const ComputeCapability capability = card.compute_capability.value_or(ComputeCapability{assumed / 10, assumed % 10});
  if (!card.compute_capability)
    report.notes.push_back(fmt::format("{}: its kernels are taken to be those of compute capability {}", card.name,
                                       to_string(capability)));
  const CudaContext context = cuda_context(capability, kWheelCudaMajor, card.units);
  report.hardware.context = context.bytes;
  const auto number = static_cast<int>(cards.size());
  if (const int opened = communicators(settings, number); opened > 0)
    report.hardware.communicator = Bytes(opened * usual_communicator(card.name, assumed, number).count());
  if (!context.measured) report.notes.push_back("the CUDA context was not measured on such a card");
  return report;
}

/// What the step takes on the card, where its rates are known.
void add_speed(TrainingReport& report, const TrainingSettings& settings, const GpuModel& card) {
  const DeviceRates rates = device_rates(card);
  if (!rates.is_known) return;
  const bool in_fp32 = settings.precision == TrainingPrecision::kFp32;
  report.step_seconds = seconds_of(report.estimate.step_work, rates, in_fp32 ? Precision::kFp32 : Precision::kBf16);
  report.step_samples = settings.micro_batch * settings.gradient_accumulation_steps;
  report.step_tokens = report.step_samples * settings.seq_len;
}

/// Weights as the checkpoint has them, where nothing was said: what from_pretrained(dtype="auto") does.
TrainingPrecision default_precision(const ModelConfig& model) {
  if (model.saved_dtype == DType::kFloat32) return TrainingPrecision::kFp32;
  if (model.saved_dtype == DType::kFloat16) return TrainingPrecision::kFp16;
  return TrainingPrecision::kBf16;
}

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
  inputs.add("LoRA rank", s.lora.is_on() ? std::to_string(s.lora.rank) : "off", "--lora_rank");
  if (s.lora.is_on()) {
    inputs.add("LoRA layers",
               s.lora.targets.empty() ? "all linear" : fmt::format("{}", fmt::join(s.lora.targets, ", ")),
               "--lora_targets");
    inputs.add("LoRA dropout", fmt::format("{}", s.lora.dropout), "--lora_dropout");
    inputs.add("DoRA", s.lora.uses_dora ? "on" : "off", "--lora_use_dora");
    inputs.add("modules trained whole",
               s.lora.modules_to_save.empty() ? "none" : fmt::format("{}", fmt::join(s.lora.modules_to_save, ", ")),
               "--lora_modules_to_save");
    inputs.add("4-bit weights", arguments.quantize.empty() ? "off" : arguments.quantize, "--quantize");
  }
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
  if (s.parallel.kind == Parallel::kDeepSpeed) {
    const tape::DeepSpeedOptions& zero = s.parallel.deepspeed;
    inputs.add("parallel",
               fmt::format("DeepSpeed's ZeRO-{} over {} card{}", zero.stage, s.parallel.ranks,
                           s.parallel.ranks > 1 ? "s" : ""),
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
  inputs.add("optimizer steps", std::to_string(s.steps), "--steps");
  inputs.add("loss", loss_text(s.loss), "--loss");
  inputs.add("gradient clipping", s.clips_gradients ? "on" : "off", "--no_clip");
  inputs.add("cache of keys and values", s.uses_cache ? "on" : "off", "--no_use_cache");
  inputs.add("expandable segments", arguments.expandable_segments ? "on" : "off", "--expandable_segments");
  inputs.add("card", arguments.gpu, "--gpu");
  return inputs.take();
}

/// Refuses what the model has no use for.
Status check_use(const CLI::App& command, const TrainingSettings& settings, const Architecture& architecture) {
  const BatchKind& takes = architecture.takes;
  const std::pair<const char*, bool> sizes[] = {
      {"--seq_len", takes.texts}, {"--target_len", takes.targets}, {"--image_size", takes.image_size > 0}};
  for (const auto& [flag, is_used] : sizes)
    if (command.count(flag) > 0 && !is_used)
      return usage_error(fmt::format("{} means nothing to this model", flag),
                         takes.texts ? "it takes texts" : "it takes images");
  if (takes.image_size > 0 && takes.fixed_image_size && settings.image_size > 0 &&
      settings.image_size != takes.image_size)
    return usage_error(fmt::format("--image_size {}: the model takes images of {} pixels only", settings.image_size,
                                   takes.image_size));
  if (settings.checkpointing.is_on() && !architecture.takes_checkpoints)
    return usage_error("this model has no gradient checkpointing in transformers");
  return Done{};
}

/// What the file of --deepspeed says of precision and optimizer.
Status take_deepspeed(const CLI::App& command, std::int64_t hidden_size, EstimateArguments& arguments) {
  VRAMWISE_ASSIGN_OR_RETURN(arguments.deepspeed,
                            read_deepspeed(command, arguments.parallel, hidden_size, arguments.settings));
  const std::pair<std::string*, const std::string*> wanted[] = {{&arguments.precision, &arguments.deepspeed.precision},
                                                                {&arguments.optimizer, &arguments.deepspeed.optimizer}};
  const char* flags[] = {"--precision", "--optimizer"};
  for (std::size_t i = 0; i < std::size(wanted); ++i) {
    const auto& [given, in_file] = wanted[i];
    if (in_file->empty()) continue;
    if (command.count(flags[i]) > 0 && *given != *in_file)
      return usage_error(fmt::format("{} {}, but {} of {}", flags[i], *given, *in_file, arguments.parallel.deepspeed),
                         "DeepSpeed's engine goes by the file");
    *given = *in_file;
  }
  return Done{};
}

Outcome estimate(const CLI::App& command, EstimateArguments arguments) {
  TrainingSettings& settings = arguments.settings;
  VRAMWISE_ASSIGN_OR_RETURN(const NamedModel configuration, read_named_model(arguments.model));
  VRAMWISE_ASSIGN_OR_RETURN(settings.checkpointing, parse_checkpointing(arguments.gradient_checkpointing,
                                                                        configuration.model.architecture.layers));
  VRAMWISE_RETURN_IF_ERROR(check_use(command, settings, configuration.model.architecture));
  const std::int64_t positions = configuration.model.architecture.max_positions;
  if (command.count("--seq_len") == 0 && positions > 0) settings.seq_len = std::min(settings.seq_len, positions);
  settings.clips_gradients = !arguments.no_clip;
  VRAMWISE_RETURN_IF_ERROR(arguments.parallel.choose(command, arguments.gpu, settings.parallel));
  VRAMWISE_RETURN_IF_ERROR(take_deepspeed(command, configuration.model.hidden_size, arguments));
  settings.precision = default_precision(configuration.model);
  if (!arguments.precision.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(settings.precision, parse_training_precision(arguments.precision));
  }
  VRAMWISE_ASSIGN_OR_RETURN(settings.optimizer, parse_training_optimizer(arguments.optimizer));
  // transformers takes eager attention where nothing was said and the architecture has no other.
  if (!configuration.model.architecture.has_sdpa) {
    if (command.count("--attention") > 0 && arguments.attention == "sdpa")
      return usage_error(
          fmt::format("{} has no {} attention in transformers", configuration.model.model_type, arguments.attention),
          "--attention eager");
    if (command.count("--attention") == 0) arguments.attention = "eager";
  }
  VRAMWISE_ASSIGN_OR_RETURN(settings.attention, parse_attention(arguments.attention));
  settings.uses_cache = !arguments.no_use_cache;
  if (arguments.loss != "whole") settings.loss = arguments.loss == "liger" ? LossKind::kLiger : LossKind::kChunked;
  if (!arguments.quantize.empty())
    settings.quantization = arguments.quantize == "nf4" ? Quantization::kNf4 : Quantization::kNf4Double;
  VRAMWISE_ASSIGN_OR_RETURN(TrainingReport report, report_for_cards(arguments.gpu, settings));
  AllocatorOptions options;
  options.expandable_segments = arguments.expandable_segments;
  VRAMWISE_ASSIGN_OR_RETURN(report.estimate,
                            estimate_training(configuration.model, settings, report.hardware, options));
  if (settings.parallel.kind == Parallel::kNone) add_speed(report, settings, parse_gpu_spec(arguments.gpu)->front());
  if (settings.parallel.kind == Parallel::kFullyShard)
    report.notes.push_back(
        "rank 0 is shown, whose shards are the largest; the model is built on the host and sharded layer by layer");
  if (settings.parallel.kind == Parallel::kDeepSpeed && settings.parallel.deepspeed.stage == 3) {
    report.notes.push_back(
        "the model is made under deepspeed.zero.Init, as transformers' Trainer has it; in a script of your own, "
        "deepspeed.initialize() of a whole model begins with all of it on each card");
    if (settings.parallel.deepspeed.overlaps)
      report.notes.push_back(
          "gathered parameters come back when the GPU is through with them; where it lags behind the host, more "
          "of them are there at once");
  } else if (settings.parallel.kind == Parallel::kDeepSpeed && settings.parallel.ranks > 1) {
    report.notes.push_back(fmt::format("rank {} is shown, which takes the most (of more than 8 ranks nine are run)",
                                       report.estimate.rank));
  }
  report.model =
      fmt::format("{}, {} parameters", configuration.model.model_type, format_count(report.estimate.parameters));
  if (report.estimate.has_estimates)
    report.notes.push_back("what cuDNN's convolutions need for themselves is estimated");
  if (settings.attention == Attention::kFlash2)
    report.notes.push_back(
        "flash-attention 2 is modelled after its source and not verified: no run of it was compared");
  report.inputs = inputs_of(command, arguments, configuration);
  if (settings.lora.is_on() && report.estimate.trained_parameters == 0)
    return usage_error("--lora_targets names no layer of this model");
  constexpr std::int64_t kFusedKernelRows = 1536;
  if (settings.quantization != Quantization::kNone && settings.micro_batch * settings.seq_len <= kFusedKernelRows)
    report.notes.push_back(fmt::format(
        "for up to {} tokens bitsandbytes may multiply 4-bit weights as they are; the estimate dequantizes them first",
        kFusedKernelRows));
  if (configuration.model.architecture.max_positions > 0 &&
      settings.seq_len > configuration.model.architecture.max_positions)
    report.notes.push_back(
        fmt::format("the model is made for at most {} tokens", configuration.model.architecture.max_positions));
  if (!arguments.html.empty()) {
    settings.parallel.deepspeed.rank = report.estimate.rank;
    if (report.hardware.total) settings.parallel.deepspeed.card_bytes = report.hardware.total->count();
    VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace,
                              trace_training(configuration.model, settings, report.hardware.hardware));
    VRAMWISE_RETURN_IF_ERROR(
        write_file_atomically(arguments.html, training_html(report, training_timeline(trace, options))));
  }
  if (arguments.as_json) {
    fmt::print("{}\n", training_json(report).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", training_text(report));
  }
  return report.estimate.fits ? kExitDone : static_cast<int>(ErrorCode::kDoesNotFit);
}

}  // namespace

void add_estimate_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("estimate", "What training a Hugging Face model takes of a card, at once");
  auto arguments = std::make_shared<EstimateArguments>();
  TrainingSettings& settings = arguments->settings;
  command->add_option("--model", arguments->model, "A name (`vramwise models`), a config.json, or its folder")
      ->required();
  command->add_option("--gpu", arguments->gpu, "The card: rtx-4090, h100-80gb, 24gb, …; several: 8xh100-80gb")
      ->required();
  command->add_option("--batch_size", settings.micro_batch, "Sequences a forward pass")->capture_default_str();
  command->add_option("--seq_len", settings.seq_len, "Tokens a sequence")->capture_default_str();
  command->add_option("--target_len", settings.target_len, "Tokens that an encoder-decoder is to write")
      ->capture_default_str();
  command->add_option("--image_size", settings.image_size,
                      "Height and width of images, in pixels (default: what the model is made for)");
  command->add_option("--gradient_accumulation_steps", settings.gradient_accumulation_steps)->capture_default_str();
  command->add_option("--steps", settings.steps, "Optimizer steps that are run; the allocator can still grow later")
      ->check(CLI::Range(1, kMostSteps))
      ->capture_default_str();
  command->add_option("--precision", arguments->precision,
                      "fp32, bf16, fp16: weights and all; bf16-mixed, fp16-mixed: fp32 weights under autocast "
                      "(default: the checkpoint's dtype)");
  command->add_option("--optimizer", arguments->optimizer, training_optimizer_names())->capture_default_str();
  command
      ->add_option("--attention", arguments->attention, "What attn_implementation is: sdpa, eager or flash_attention_2")
      ->capture_default_str();
  command
      ->add_option(
          "--gradient_checkpointing", arguments->gradient_checkpointing,
          "Recompute layers: none, all, the first N (a number), every-N (each N-th), or selective: all but their "
          "matrix products and attention, by torchtitan's policy; all where no value is given, none without the flag")
      ->expected(0, 1)
      ->default_str("all")
      ->option_text("[TEXT]");
  command->add_option("--lora_rank", settings.lora.rank, "Train LoRA factors of this rank only, as PEFT does");
  command->add_option("--lora_dropout", settings.lora.dropout);
  command
      ->add_option("--lora_targets", settings.lora.targets,
                   "Layers that get factors: q_proj,v_proj (default: every linear layer but the head)")
      ->delimiter(',');
  command->add_flag("--lora_use_dora", settings.lora.uses_dora, "PEFT's use_dora: DoRA");
  command
      ->add_option("--lora_modules_to_save", settings.lora.modules_to_save,
                   "Modules that are trained whole beside the factors: lm_head,embed_tokens")
      ->delimiter(',');
  command
      ->add_option(
          "--quantize", arguments->quantize,
          "Frozen weights in 4 bits under LoRA (QLoRA, bitsandbytes): nf4, or nf4-double with quantized scales")
      ->check(CLI::IsMember({"nf4", "nf4-double"}));
  arguments->parallel.add_to(*command, settings.parallel);
  command
      ->add_option("--loss", arguments->loss,
                   "whole: of all logits in fp32, as transformers has it; liger: Liger-Kernel's, fused with the head; "
                   "chunked: head and log-probabilities in tiles, as SFTTrainer of TRL")
      ->check(CLI::IsMember({"whole", "liger", "chunked"}))
      ->capture_default_str();
  command->add_flag("--no_clip", arguments->no_clip, "Gradients are not clipped");
  command->add_flag("--no_use_cache", arguments->no_use_cache,
                    "use_cache=False: the model keeps no keys and values (checkpointing does so by itself)");
  command->add_flag("--expandable_segments", arguments->expandable_segments,
                    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True");
  command->add_flag("--json", arguments->as_json, "Print JSON (docs/formats.md)");
  command->add_option("--html", arguments->html, "Write a page with the timeline of memory over the run");
  command->callback([command, arguments, &outcome] { outcome = estimate(*command, *arguments); });
}

}  // namespace vramwise::cli
