// Which trainer can carry out which knob is a table (plan/training/words.cc); nothing here knows one from another.
#include "cli/plan_training.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/json.h"
#include "base/units.h"
#include "cli/checkpointing_flag.h"
#include "cli/named_model.h"
#include "cli/plan_file.h"
#include "cli/plan_training_verify.h"
#include "cli/search_progress.h"
#include "cli/terminal.h"
#include "cost/calibration.h"
#include "estimate/training_check.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"
#include "models/shorter.h"
#include "models/torchtune/config.h"
#include "plan/training/card.h"
#include "plan/training/search.h"
#include "plan/training/take_trainer.h"
#include "plan/training/words.h"
#include "report/knobs_json.h"
#include "report/training_plan_json.h"
#include "report/training_plan_text.h"
#include "report/verified_text.h"

namespace vramwise::cli {
namespace {

constexpr std::int64_t kUsualBatch = 16;
constexpr std::int64_t kUsualLength = 1024;
constexpr std::int64_t kMostSequences = 1 << 16;

/// Flags that mean something to `vramwise train` alone.
Status refuse_own_flags(const PlanOptions& options, const char* trainer) {
  const std::pair<const char*, bool> given[] = {
      {"--cpu_offload", !options.cpu_offload.empty()},
      {"--loss_chunk_tokens", options.loss_chunk_tokens.has_value()},
  };
  for (const auto& [flag, is_given] : given)
    if (is_given) return usage_error(fmt::format("{} is no knob of {}", flag, trainer), "docs/commands.md lists them.");
  if (options.strategy == "guide" || options.strategy == "safest")
    return usage_error(
        fmt::format("--strategy {} is for vramwise train's plans", options.strategy),
        fmt::format("Plans for {} are the fastest that fit; their runner-ups take less memory.", trainer));
  return Done{};
}

Status take_allowed(const PlanOptions& options, TrainingRequest& request) {
  const std::vector<std::string> known = allow_names(request.trainer);
  for (const std::string& what : options.allow) {
    if (std::find(known.begin(), known.end(), what) == known.end())
      return usage_error(fmt::format("--allow {}: {} has no such knob", what, trainer_name(request.trainer)),
                         fmt::format("Known: {}.", fmt::join(known, ", ")));
    if (what == "lora" && request.model.architecture.auto_class != std::string_view("AutoModelForCausalLM"))
      return incomplete(fmt::format("--allow lora is not planned for {}", request.model.model_type),
                        "`vramwise estimate --lora_rank` tells what it takes.");
    request.allowed.push_back(what);
  }
  return Done{};
}

/// What is given stays.
Status take_fixed(const PlanOptions& options, TrainingRequest& request) {
  TrainingSettings& s = request.start.settings;
  const auto positive = [](const char* flag, const std::optional<std::int64_t>& value) -> Status {
    if (!value || (*value >= 1 && *value <= kMostSequences)) return Done{};
    return usage_error(fmt::format("{} {} is out of range", flag, *value),
                       fmt::format("It must be between 1 and {}.", kMostSequences));
  };
  VRAMWISE_RETURN_IF_ERROR(positive("--batch_size", options.batch_size));
  VRAMWISE_RETURN_IF_ERROR(positive("--gradient_accumulation_steps", options.gradient_accumulation_steps));
  VRAMWISE_RETURN_IF_ERROR(positive("--effective_batch", options.effective_batch));
  if (options.batch_size) {
    s.micro_batch = *options.batch_size;
    request.fixed.emplace_back("micro_batch");
  }
  if (options.gradient_accumulation_steps) {
    s.gradient_accumulation_steps = *options.gradient_accumulation_steps;
    request.fixed.emplace_back("accumulation");
  }
  const bool both = options.batch_size && options.gradient_accumulation_steps;
  const std::int64_t product = s.micro_batch * s.gradient_accumulation_steps * request.cards;
  request.sequences = options.effective_batch.value_or(both ? product : kUsualBatch);
  if (request.sequences > kMostSequences)
    return usage_error(fmt::format("{} sequences a step are out of range", request.sequences),
                       fmt::format("Batch size x accumulation x cards must be at most {}.", kMostSequences));
  if (!options.precision.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(s.precision, parse_training_precision(options.precision));
    request.fixed.emplace_back("precision");
  }
  if (options.gradient_checkpointing.empty()) return Done{};
  const int layers = request.model.architecture.layers;
  VRAMWISE_ASSIGN_OR_RETURN(s.checkpointing, parse_checkpointing(options.gradient_checkpointing, layers));
  s.checkpointing.layers = std::min(s.checkpointing.layers, layers);
  request.fixed.insert(request.fixed.end(), {"checkpointing", "recomputed"});
  return Done{};
}

/// Values of knobs by their names in the table.
Status take_values(const std::vector<std::string>& words, TrainingRequest& request) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), wanted = equals < word.size() ? word.substr(equals + 1) : "";
    const Knob* knob = find_knob(name);
    if (knob == nullptr || knob->values.empty() || !concerns(request.trainer, *knob, request.cards))
      return usage_error(fmt::format("--fix {}: no such knob here", word), "`vramwise plan --knobs` lists them.");
    std::vector<std::string> known;
    const KnobValue* found = nullptr;
    for (const KnobValue& value : knob->values) {
      if (wanted == value.name) found = &value;
      if (can_take(request.trainer, *knob, value.name)) known.emplace_back(value.name);
    }
    if (found == nullptr)
      return usage_error(fmt::format("--fix {}: no such value", word),
                         fmt::format("Known: {}.", fmt::join(known, "; ")));
    if (!can_take(request.trainer, *knob, wanted)) return no_words(request.trainer, *knob, wanted);
    found->set(request.start);
    request.fixed.push_back(name);
  }
  return Done{};
}

Status take_cards(const PlanOptions& options, TrainingRequest& request, GpuModel& card, Bytes& margin) {
  const char* trainer = trainer_name(request.trainer);
  if (options.gpu.empty()) return usage_error(fmt::format("--for {} plans for a card", trainer), "Name it with --gpu.");
  VRAMWISE_ASSIGN_OR_RETURN(const auto cards, parse_gpu_spec(options.gpu));
  card = cards.front();
  for (const GpuModel& other : cards)
    if (other.name != card.name || other.cuda_total != card.cuda_total)
      return usage_error(fmt::format("--gpu {}: {} gives unlike cards the same", options.gpu, trainer),
                         "Plan for the smallest of them; vramwise train shares work out by speed and memory.");
  request.cards = static_cast<int>(cards.size());
  if (request.cards > 1 && request.trainer == Trainer::kTorchtune)
    return incomplete("--for torchtune: of its recipes full_finetune_single_device alone is modelled",
                      "Name one card; --for fsdp2 plans for several.");
  if (request.cards == 1 && request.trainer == Trainer::kFsdp2)
    return usage_error("--for fsdp2: fully_shard divides a model over several cards", "--gpu 8xh100-80gb names eight.");
  VRAMWISE_ASSIGN_OR_RETURN(const VramTarget target, options.target());
  VRAMWISE_ASSIGN_OR_RETURN(margin, options.margin());
  std::optional<Bytes> each;
  if (target.kind != VramTarget::Kind::kAuto) each = Bytes(target.total.count() / request.cards);
  VRAMWISE_RETURN_IF_ERROR(put_on(request, card, each, margin));
  if (options.calibration.empty()) return Done{};
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_json_file(options.calibration));
  VRAMWISE_ASSIGN_OR_RETURN(request.rates, calibrated(request.rates, json));
  balance(request.card.hardware, request.rates);
  return Done{};
}

/// torchtune trains models of its own, in its own loop.
Status take_tune_model(const NamedModel& named, TrainingRequest& request) {
  VRAMWISE_ASSIGN_OR_RETURN(TuneModel tuned, parse_tune_model(named.text, named.path));
  VRAMWISE_RETURN_IF_ERROR(check_tokenizer(tuned));
  // The catalogue leaves out what takes no memory.
  if (!named.is_of_catalogue) take_unsaid(tuned.decoder);
  request.model = tuned.model;
  request.shorter = {with_layers(tuned, 1), with_layers(tuned, 2)};
  request.named = {{"builder", tuned.builder},
                   {"arguments", tune_arguments(tuned.decoder)},
                   {"tokenizer", tuned.tokenizer},
                   {"tokenizer_files", tuned.tokenizer_files},
                   {"checkpoint", tuned.checkpoint_type}};
  if (const std::string names = left_out(tuned.decoder); !names.empty())
    request.named.push_back({"unsaid", fmt::format("  # add of its config.json: {}", names)});
  request.start.settings.runs_tune_recipe = true;
  request.start.settings.clips_gradients = false;  // clip_grad_norm: null
  return Done{};
}

/// A search's batches are rows of tokens, each with its label.
Status check_rows(const ModelConfig& model) {
  const Architecture& architecture = model.architecture;
  const bool takes_rows = architecture.takes.texts && !architecture.takes.targets && architecture.takes.image_size == 0;
  if (takes_rows && architecture.auto_class != std::string_view("AutoModelForSequenceClassification")) return Done{};
  return incomplete(
      fmt::format("plans for {} are not made: only for models that take rows of tokens with as many labels",
                  model.model_type),
      "`vramwise estimate` tells what a configuration takes.");
}

Status take_length(std::optional<std::int64_t> asked, TrainingRequest& request) {
  const std::int64_t positions = request.model.architecture.max_positions;
  std::int64_t& seq_len = request.start.settings.seq_len;
  seq_len = asked.value_or(positions > 0 ? std::min(kUsualLength, positions) : kUsualLength);
  VRAMWISE_RETURN_IF_ERROR(check_length(request.model, seq_len));
  if (request.trainer == Trainer::kTorchtune && seq_len > positions)
    return usage_error(fmt::format("--seq_len {}: torchtune's model takes at most {} tokens", seq_len, positions),
                       fmt::format("--seq_len {}: max_position_embeddings of its config.json.", positions));
  return Done{};
}

/// What flags leave to the search: values that they fix, what they allow besides.
Status take_knobs(const TrainerChoice& choice, const PlanOptions& options, TrainingRequest& request) {
  VRAMWISE_RETURN_IF_ERROR(take_fixed(options, request));
  VRAMWISE_RETURN_IF_ERROR(take_values(choice.fixed, request));
  return take_allowed(options, request);
}

struct Question {
  TrainingRequest request;
  std::string config;  ///< text of the model's config.json
  GpuModel card;
  Bytes margin;
};

Result<Question> question_of(const TrainerChoice& choice, const PlanOptions& options) {
  Question question;
  TrainingRequest& request = question.request;
  VRAMWISE_ASSIGN_OR_RETURN(request.trainer, parse_trainer(choice.trainer));
  if (request.trainer == Trainer::kOwn)
    return usage_error("vramwise train trains its own decoder (--model_size)", "--model goes with --for transformers.");
  if (choice.model.empty())
    return usage_error(fmt::format("--for {} needs a --model", choice.trainer),
                       "A name of `vramwise models`, or a config.json.");
  VRAMWISE_RETURN_IF_ERROR(refuse_own_flags(options, choice.trainer.c_str()));
  VRAMWISE_ASSIGN_OR_RETURN(NamedModel named, read_named_model(choice.model));
  request.model = std::move(named.model);
  request.shorter = shorter_models(named.text, request.model);
  if (request.trainer == Trainer::kTorchtune) VRAMWISE_RETURN_IF_ERROR(take_tune_model(named, request));
  question.config = std::move(named.text);
  request.model_name = choice.model;
  VRAMWISE_RETURN_IF_ERROR(check_rows(request.model));
  const Architecture& architecture = request.model.architecture;
  TrainingSettings& s = request.start.settings;
  s.optimizer = TrainingOptimizer::kAdamWFused;  // what transformers 5's trainer takes by default
  if (!architecture.has_sdpa) s.attention = Attention::kEager;
  take_trainer(request, request.trainer);
  s.uses_cache = false;  // as the words have it
  VRAMWISE_RETURN_IF_ERROR(take_length(options.seq_len, request));
  VRAMWISE_RETURN_IF_ERROR(take_cards(options, request, question.card, question.margin));
  VRAMWISE_RETURN_IF_ERROR(take_knobs(choice, options, request));
  return question;
}

Outcome tell_refusal(const Question& question, const TrainingPlanReport& report, const Error& why,
                     const PlanOutput& output, SearchProgress& progress) {
  tell_unsaved(output.save);
  const Json json = no_training_plan_json(report, why.what, changes_that_fit(question.request, question.margin),
                                          cards_that_fit(question.request, question.margin));
  progress.clear();
  if (output.as_json) {
    fmt::print("{}\n", json.dump(2));
    return why;
  }
  Error told = why;
  told.remedy = training_changes_text(json, {});
  if (!told.remedy.empty() && told.remedy.back() == '\n') told.remedy.pop_back();
  return told;
}

std::vector<std::string> notes_on(const Question& question, const TrainingPlan& plan) {
  std::vector<std::string> notes;
  const TrainingRequest& request = question.request;
  const bool is_fp16 = request.start.settings.precision == TrainingPrecision::kFp16;
  if (request.model.saved_dtype == tape::DType::kFloat16 && !is_fp16 && !request.fixes("precision"))
    notes.emplace_back(
        "The checkpoint is in float16, whose gradients no GradScaler scales: it is loaded in bfloat16, which has the "
        "same size");
  const std::int64_t positions = request.model.architecture.max_positions;
  if (positions > 0 && request.start.settings.seq_len > positions)
    notes.push_back(fmt::format("The model is made for at most {} tokens", positions));
  const TrainingEstimate& estimate = plan.best.estimate;
  if (const Bytes host = estimate.host_pinned + estimate.host_pageable; host > Bytes(0))
    notes.push_back(fmt::format("The host holds {} for each card, {} of it page-locked: {} for all", format_size(host),
                                format_size(estimate.host_pinned), format_size(Bytes(host.count() * request.cards))));
  return notes;
}

Json verified_json(const Verification& run, Bytes predicted) {
  Json cards = Json::array();
  for (std::size_t i = 0; i < run.device_peaks.size(); ++i) {
    if (run.device_peaks[i] == Bytes(0)) continue;  // one rank alone runs
    cards.push_back(
        {{"index", i}, {"measured_bytes", run.device_peaks[i].count()}, {"predicted_bytes", predicted.count()}});
  }
  return {{"verdict", run.verdict}, {"cards", cards}};
}

}  // namespace

void add_trainer_options(CLI::App& command, TrainerChoice& choice, const char* group) {
  command
      .add_option("--for", choice.trainer,
                  "Who trains: trainer (vramwise train), transformers, accelerate, fsdp2 (fully_shard of PyTorch), "
                  "deepspeed (its ZeRO under transformers' Trainer) or torchtune (full_finetune_single_device)")
      ->check(CLI::IsMember(trainer_names()))
      ->capture_default_str()
      ->group(group);
  command.add_option("--model", choice.model, "With --for: a name (`vramwise models`), a config.json, or its folder")
      ->group(group);
  command
      .add_option("--fix", choice.fixed,
                  "With --for: a knob's value that stays, by the names of docs/commands.md: loss=whole, "
                  "\"sharing=zero1, bucket views\"; may be given several times")
      ->group(group);
  command
      .add_flag("--knobs", choice.shows_knobs,
                "The table of knobs and of what each trainer calls them, in Markdown or with --json")
      ->group(group);
}

Outcome plan_for_other(const TrainerChoice& choice, const PlanOptions& options, const PlanOutput& output) {
  if (choice.shows_knobs) {
    fmt::print("{}", output.as_json ? knobs_json().dump(2) + "\n" : knob_table());
    return kExitDone;
  }
  VRAMWISE_ASSIGN_OR_RETURN(Question question, question_of(choice, options));
  SearchProgress progress;
  question.request.sink = &progress;
  const TrainingPlanReport report{.request = question.request, .card = question.card.name};
  Result<TrainingPlan> plan = plan_training(question.request);
  progress.clear();
  if (!plan.ok() && plan.error().code == ErrorCode::kDoesNotFit)
    return tell_refusal(question, report, plan.error(), output, progress);
  if (!plan.ok()) return plan.error();
  for (std::string& note : notes_on(question, *plan)) plan->notes.push_back(std::move(note));
  Json json = training_plan_json(report, *plan);
  int exit_code = kExitDone;
  if (output.verify) {
    VRAMWISE_ASSIGN_OR_RETURN(const Verification run,
                              verify_training(told_of(question.request, *plan), question.config,
                                              question.request.sequences, plan->best.estimate.rank, options.gpu));
    json["verified"] = verified_json(run, plan->best.estimate.device);
    if (output.verbose || !is_as_predicted(json["verified"])) tell_output(run);
    exit_code = run.exit_code;
  }
  if (!output.save.empty()) VRAMWISE_RETURN_IF_ERROR(write_file_atomically(output.save, json.dump(2) + "\n"));
  fmt::print("{}", output.as_json ? json.dump(2) + "\n" : training_plan_text(json, terminal_style()));
  return exit_code;
}

}  // namespace vramwise::cli
