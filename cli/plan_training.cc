// Which trainer can carry out which knob is said in docs/commands.md; only transformers' is searched for.
#include "cli/plan_training.h"

#include <fmt/format.h>

#include <cmath>

#include "base/json.h"
#include "base/units.h"
#include "cli/named_model.h"
#include "cli/terminal.h"
#include "gpus/cuda_facts.h"
#include "gpus/gpu_spec.h"
#include "plan/training_search.h"
#include "report/plan_search_text.h"

namespace vramwise::cli {
namespace {

constexpr std::int64_t kUsualBatch = 16;
constexpr std::int64_t kUsualLength = 1024;

TrainingPrecision precision_of_checkpoint(const ModelConfig& model) {
  if (model.saved_dtype == tape::DType::kFloat16) return TrainingPrecision::kFp16;
  return model.saved_dtype == tape::DType::kFloat32 ? TrainingPrecision::kFp32 : TrainingPrecision::kBf16;
}

Status take_card(const PlanOptions& options, TrainingRequest& request, std::string& name) {
  if (options.gpu.empty()) return usage_error("--for transformers plans for a card", "Name it with --gpu.");
  VRAMWISE_ASSIGN_OR_RETURN(const auto cards, parse_gpu_spec(options.gpu));
  if (cards.size() != 1)
    return usage_error("--for transformers plans for one card", "Data parallelism has the same on every card.");
  const GpuModel& card = cards.front();
  if (!card.cuda_total) return usage_error(fmt::format("the memory of {} is not known", card.name));
  name = card.name;
  request.card.hardware = hardware_of(card);
  const int assumed = request.card.hardware.capability;
  const ComputeCapability capability = card.compute_capability.value_or(ComputeCapability{assumed / 10, assumed % 10});
  request.card.context = cuda_context(capability, kWheelCudaMajor, card.units).bytes;
  request.rates = device_rates(card);
  VRAMWISE_ASSIGN_OR_RETURN(const VramTarget target, options.target());
  VRAMWISE_ASSIGN_OR_RETURN(const Bytes margin, options.margin());
  const bool whole = target.kind == VramTarget::Kind::kAuto;
  request.usable = (whole ? *card.cuda_total : std::min(*card.cuda_total, target.total)) - margin;
  if (request.usable > Bytes(0)) return Done{};
  return usage_error("the safety margin leaves nothing of the card", "Give a smaller --vram_safety_margin.");
}

Result<TrainingRequest> request_for(const TrainerChoice& choice, const PlanOptions& options, std::string& card) {
  TrainingRequest request;
  VRAMWISE_ASSIGN_OR_RETURN(NamedModel named, read_named_model(choice.model));
  request.model = std::move(named.model);
  request.settings.optimizer = TrainingOptimizer::kAdamWFused;  // what transformers 5's trainer takes by default
  request.settings.seq_len = options.seq_len.value_or(kUsualLength);
  request.settings.precision = precision_of_checkpoint(request.model);
  if (!options.precision.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(request.settings.precision, parse_training_precision(options.precision));
  }
  const bool both = options.batch_size && options.gradient_accumulation_steps;
  request.sequences =
      options.effective_batch.value_or(both ? *options.batch_size * *options.gradient_accumulation_steps : kUsualBatch);
  if (options.gradient_checkpointing == "all" || options.gradient_checkpointing == "none") {
    request.settings.checkpointing.layers = options.gradient_checkpointing == "all" ? kAllLayers : 0;
    request.may_recompute = false;
  }
  VRAMWISE_RETURN_IF_ERROR(take_card(options, request, card));
  return request;
}

/// The keys of transformers.TrainingArguments; the weights' type is from_pretrained's.
Json arguments_of(const TrainingSettings& settings) {
  Json arguments = {{"per_device_train_batch_size", settings.micro_batch},
                    {"gradient_accumulation_steps", settings.gradient_accumulation_steps},
                    {"gradient_checkpointing", settings.checkpointing.is_on()},
                    {"optim", "adamw_torch_fused"}};
  if (settings.precision == TrainingPrecision::kBf16Mixed) arguments["bf16"] = true;
  return arguments;
}

const char* weights_of(TrainingPrecision precision) {
  if (precision == TrainingPrecision::kBf16) return "bfloat16";
  return precision == TrainingPrecision::kFp16 ? "float16" : "float32";
}

std::string row_text(const TrainingSettings& settings) {
  return fmt::format("batch {} x {}{}", settings.micro_batch, settings.gradient_accumulation_steps,
                     settings.checkpointing.is_on() ? ", every layer recomputed" : "");
}

std::string text_of(const TrainingPlan& plan, const TrainingRequest& request, const std::string& card) {
  const TrainingSettings& best = plan.best.settings;
  const bool known = request.rates.is_known;
  std::string text = fmt::format(
      "For transformers.Trainer: {} ({} parameters), {} tokens a sequence, {} sequences a step\n",
      request.model.model_type, format_count(plan.best.estimate.parameters), best.seq_len, request.sequences);
  text +=
      fmt::format("On {}: {} of {} usable", card, format_size(plan.best.estimate.device), format_size(request.usable));
  if (known) text += fmt::format(", {} tokens/s predicted", grouped(std::llround(plan.best.tokens_per_s())));
  text += fmt::format("\n\nmodel = AutoModelForCausalLM.from_pretrained(…, dtype=torch.{})\nTrainingArguments(\n",
                      weights_of(best.precision));
  const Json arguments = arguments_of(best);
  for (const auto& [key, value] : arguments.items()) {
    const std::string python = value.is_boolean() ? (value.get<bool>() ? "True" : "False") : value.dump();
    text += fmt::format("    {}={},\n", key, python);
  }
  Table table({"<configuration", "memory", "speed"});
  const double most = plan.best.tokens_per_s();
  table.add({row_text(best), format_size(plan.best.estimate.device), speed_text(most, known, most)}, true);
  for (const TrainingChoice& row : plan.runner_ups)
    table.add({row_text(row.settings), format_size(row.estimate.device), speed_text(row.tokens_per_s(), known, most)});
  text += ")\n\nRunner-ups (the fastest with less memory each):\n" + table.text(terminal_style());
  if (known)
    text += "Speeds: 78 published runs were predicted with a median error of 16 %, either way (docs/accuracy.md)\n";
  return text;
}

Json choice_json(const TrainingChoice& choice) {
  return {{"arguments", arguments_of(choice.settings)},
          {"dtype", weights_of(choice.settings.precision)},
          {"device_bytes", choice.estimate.device.count()},
          {"tokens_per_s", choice.tokens_per_s()}};
}

}  // namespace

Outcome plan_for_other(const TrainerChoice& choice, const PlanOptions& options, bool as_json) {
  if (choice.trainer != "transformers" && choice.trainer != "trainer") {
    return incomplete(fmt::format("--for {}: its knobs are not searched yet", choice.trainer),
                      "`vramwise estimate` and `vramwise dryrun` say what a configuration of it takes.");
  }
  if (choice.trainer == "trainer")
    return usage_error("vramwise train trains its own decoder (--model_size)", "--model goes with --for transformers.");
  if (choice.model.empty())
    return usage_error("--for transformers needs a --model", "A name of `vramwise models`, or a config.json.");
  std::string card;
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingRequest request, request_for(choice, options, card));
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingPlan plan, plan_training(request));
  if (!as_json) {
    fmt::print("{}", text_of(plan, request, card));
    return kExitDone;
  }
  Json runner_ups = Json::array();
  for (const TrainingChoice& row : plan.runner_ups) runner_ups.push_back(choice_json(row));
  Json json = choice_json(plan.best);
  json.update({{"schema", "vramwise.plan_training"},
               {"schema_version", 1},
               {"trainer", choice.trainer},
               {"card", card},
               {"usable_bytes", request.usable.count()},
               {"effective_batch_size", request.sequences},
               {"seq_len", request.settings.seq_len},
               {"speed_is_known", request.rates.is_known},
               {"runner_ups", runner_ups}});
  fmt::print("{}\n", json.dump(2));
  return kExitDone;
}

}  // namespace vramwise::cli
