// vramwise estimate: what training a Hugging Face model takes of a card, from its config.json, in a blink and without
// torch.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "cli/checkpointing_flag.h"
#include "cli/command.h"
#include "cli/estimate_arguments.h"
#include "cli/estimate_inputs.h"
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
  if (!context.measured) report.notes.emplace_back("the CUDA context was not measured on such a card");
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

/// What several cards are taken to be like.
void add_notes_on_cards(TrainingReport& report, const ParallelOptions& parallel) {
  if (parallel.kind == Parallel::kFullyShard)
    report.notes.emplace_back(
        "rank 0 is shown, whose shards are the largest; the model is built on the host and sharded layer by layer");
  if (parallel.kind == Parallel::kDeepSpeed && parallel.deepspeed.stage == 3) {
    report.notes.emplace_back(
        "the model is made under deepspeed.zero.Init, as transformers' Trainer has it; in a script of your own, "
        "deepspeed.initialize() of a whole model begins with all of it on each card");
    if (parallel.deepspeed.overlaps)
      report.notes.emplace_back(
          "gathered parameters come back when the GPU is through with them; where it lags behind the host, more "
          "of them are there at once");
  } else if (parallel.kind == Parallel::kDeepSpeed && parallel.ranks > 1) {
    report.notes.push_back(fmt::format("rank {} is shown, which takes the most (of more than 8 ranks nine are run)",
                                       report.estimate.rank));
  }
}

void add_notes(TrainingReport& report, const TrainingSettings& settings, const Architecture& architecture) {
  add_notes_on_cards(report, settings.parallel);
  if (report.estimate.has_estimates)
    report.notes.emplace_back("what cuDNN's convolutions need for themselves is estimated");
  if (settings.attention == Attention::kFlash2)
    report.notes.emplace_back(
        "flash-attention 2 is modelled after its source and not verified: no run of it was compared");
  constexpr std::int64_t kFusedKernelRows = 1536;
  if (settings.quantization != Quantization::kNone && settings.micro_batch * settings.seq_len <= kFusedKernelRows)
    report.notes.push_back(fmt::format(
        "for up to {} tokens bitsandbytes may multiply 4-bit weights as they are; the estimate dequantizes them first",
        kFusedKernelRows));
  if (architecture.max_positions > 0 && settings.seq_len > architecture.max_positions)
    report.notes.push_back(fmt::format("the model is made for at most {} tokens", architecture.max_positions));
}

/// What was said, what the checkpoint and a file of DeepSpeed say where nothing was, and what transformers takes else.
Status take_settings(const CLI::App& command, const ModelConfig& model, EstimateArguments& arguments) {
  TrainingSettings& settings = arguments.settings;
  const Architecture& architecture = model.architecture;
  VRAMWISE_ASSIGN_OR_RETURN(settings.checkpointing,
                            parse_checkpointing(arguments.gradient_checkpointing, architecture.layers));
  VRAMWISE_RETURN_IF_ERROR(check_use(command, settings, architecture));
  const std::int64_t positions = architecture.max_positions;
  if (command.count("--seq_len") == 0 && positions > 0) settings.seq_len = std::min(settings.seq_len, positions);
  settings.clips_gradients = !arguments.no_clip;
  VRAMWISE_RETURN_IF_ERROR(arguments.parallel.choose(command, arguments.gpu, settings.parallel));
  VRAMWISE_RETURN_IF_ERROR(take_deepspeed(command, model.hidden_size, arguments));
  settings.precision = default_precision(model);
  if (!arguments.precision.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(settings.precision, parse_training_precision(arguments.precision));
  }
  VRAMWISE_ASSIGN_OR_RETURN(settings.optimizer, parse_training_optimizer(arguments.optimizer));
  // transformers takes eager attention where nothing was said and the architecture has no other.
  if (!architecture.has_sdpa) {
    if (command.count("--attention") > 0 && arguments.attention == "sdpa")
      return usage_error(fmt::format("{} has no {} attention in transformers", model.model_type, arguments.attention),
                         "--attention eager");
    if (command.count("--attention") == 0) arguments.attention = "eager";
  }
  VRAMWISE_ASSIGN_OR_RETURN(settings.attention, parse_attention(arguments.attention));
  settings.uses_cache = !arguments.no_use_cache;
  if (arguments.loss != "whole") settings.loss = arguments.loss == "liger" ? LossKind::kLiger : LossKind::kChunked;
  if (!arguments.quantize.empty())
    settings.quantization = arguments.quantize == "nf4" ? Quantization::kNf4 : Quantization::kNf4Double;
  return Done{};
}

Outcome estimate(const CLI::App& command, EstimateArguments arguments) {
  TrainingSettings& settings = arguments.settings;
  VRAMWISE_ASSIGN_OR_RETURN(const NamedModel configuration, read_named_model(arguments.model));
  VRAMWISE_RETURN_IF_ERROR(take_settings(command, configuration.model, arguments));
  VRAMWISE_ASSIGN_OR_RETURN(TrainingReport report, report_for_cards(arguments.gpu, settings));
  AllocatorOptions options;
  options.expandable_segments = arguments.expandable_segments;
  VRAMWISE_ASSIGN_OR_RETURN(report.estimate,
                            estimate_training(configuration.model, settings, report.hardware, options));
  if (settings.parallel.kind == Parallel::kNone) add_speed(report, settings, parse_gpu_spec(arguments.gpu)->front());
  report.model =
      fmt::format("{}, {} parameters", configuration.model.model_type, format_count(report.estimate.parameters));
  add_notes(report, settings, configuration.model.architecture);
  report.inputs = inputs_of(command, arguments, configuration);
  if (settings.lora.is_on() && report.estimate.trained_parameters == 0)
    return usage_error("--lora_targets names no layer of this model");
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
  arguments->add_to(*command);
  command->callback([command, arguments, &outcome] { outcome = estimate(*command, *arguments); });
}

}  // namespace vramwise::cli
