// vramwise train: checks the data, plans for the memory that is really there, prints the plan, and becomes the trainer.
//
// Everything is decided here, before torch is loaded and before any memory is taken; `vramwise-train` gets the outcome
// as <out_dir>/run.json.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "cli/cards.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/output_folder.h"
#include "cli/plan_options.h"
#include "cli/run_options.h"
#include "cli/trainer_process.h"
#include "data/dataset.h"
#include "device/machine.h"
#include "device/system.h"
#include "io/files.h"
#include "plan/plan.h"
#include "report/plan_json.h"
#include "report/plan_text.h"
#include "run/output_names.h"
#include "run/run_spec.h"

namespace vramwise::cli {
namespace {

struct Options {
  ModelOptions model;
  PlanOptions plan;
  RunOptions run;
  std::string device = "auto";
  bool trust_vram = false;
  bool plan_only = false;
  bool as_json = false;
};

Result<CardSet> training_cards(const Options& options, const Machine& machine) {
  if (options.device == "cpu") return host_card(machine);
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, trainable_cards(machine));
  if (options.device == "cuda" && set.origin == CardOrigin::kHost) {
    return world_error("--device cuda: no NVIDIA card can be seen",
                       "`vramwise doctor` says why; --device cpu trains on the CPU.");
  }
  return set;
}

/// --gpu plans for that card's memory, as --vram does for an amount.
Result<VramTarget> planned_target(const Options& options) {
  VRAMWISE_ASSIGN_OR_RETURN(VramTarget target, options.plan.target());
  if (options.plan.gpu.empty() || target.kind != VramTarget::Kind::kAuto) return target;
  VRAMWISE_ASSIGN_OR_RETURN(const CardSet chosen, chosen_cards(options.plan.gpu));
  target.kind = VramTarget::Kind::kCustom;
  for (const Card& card : chosen.cards) target.total += card.budget;
  return target;
}

/// A target above what is really there would end in out-of-memory: the plan is made for the real budget instead, and
/// says so.
void keep_to_the_machine(VramTarget& target, const CardSet& set, bool trust_vram) {
  if (target.kind == VramTarget::Kind::kAuto) return;
  Bytes real;
  for (const Card& card : set.cards) real += card.budget;
  if (target.total <= real || trust_vram) return;
  target.note = fmt::format(
      "{} GB were asked for, but this machine has {} GB free: planned for those (--trust_vram plans for {} GB all the "
      "same)",
      format_gib(target.total), format_gib(real), format_gib(target.total));
  target.kind = VramTarget::Kind::kCustom;
  target.total = real;
}

Result<Dataset> open_data(const RunOptions& run) {
  DataOptions options;
  options.data_dir = run.data.data_dir;
  options.tokenizer = run.data.tokenizer;
  options.other_cache_dir = join_path(run.out_dir, kTokensFolderName);  // as the trainer does
  options.on_progress = [](const EncodeProgress& progress) {
    fmt::print(stderr, "\rencoding {}: {} of {} ", progress.file, format_size(progress.done),
               format_size(progress.total));
    if (progress.done >= progress.total) fmt::print(stderr, "\n");
  };
  return open_dataset(options);
}

Result<Plan> plan_for(const Options& options, const DecoderConfig& model) {
  PlanRequest request;
  request.model = model;
  request.model_name = options.model.name();
  VRAMWISE_ASSIGN_OR_RETURN(request.target, planned_target(options));
  VRAMWISE_ASSIGN_OR_RETURN(request.safety_margin, options.plan.margin());
  VRAMWISE_ASSIGN_OR_RETURN(request.overrides, options.plan.overrides(model.n_layers));
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, training_cards(options, machine));
  keep_to_the_machine(request.target, set, options.trust_vram);
  leave_out_full_cards(set, request.safety_margin);
  request.cards = std::move(set.cards);
  request.origin = set.origin;
  VRAMWISE_ASSIGN_OR_RETURN(Plan plan, make_plan(request));
  plan.notes.insert(plan.notes.begin(), set.notes.begin(), set.notes.end());
  return plan;
}

Result<RunSpec> run_spec_for(const Options& options, const Plan& plan) {
  RunSpec spec;
  spec.model = plan.request.model;
  spec.step = plan.step;
  for (const CardPlan& card : plan.cards) {
    spec.replicas.push_back(
        {card.card.device, card.micro_batch, card.ledger.device - card.card.target.context, card.usable});
  }
  // The trainer's first replica is the one with the optimizer.
  std::swap(spec.replicas.front(), spec.replicas[plan.optimizer_card()]);
  spec.step.micro_batch = spec.replicas.front().micro_batch;
  VRAMWISE_RETURN_IF_ERROR(options.run.apply_to(spec));
  return spec;
}

Outcome train(const Options& options) {
  VRAMWISE_RETURN_IF_ERROR(options.plan.target());
  VRAMWISE_RETURN_IF_ERROR(options.plan.margin());
  VRAMWISE_ASSIGN_OR_RETURN(const Dataset data, open_data(options.run));
  for (const std::string& warning : data.warnings) fmt::print(stderr, "vramwise: {}\n", warning);
  VRAMWISE_ASSIGN_OR_RETURN(const DecoderConfig model, options.model.resolve(data.vocab_size));
  VRAMWISE_ASSIGN_OR_RETURN(const Plan plan, plan_for(options, model));
  VRAMWISE_RETURN_IF_ERROR(validate_for_training(data, plan.step.seq_len, model.vocab_size));
  VRAMWISE_ASSIGN_OR_RETURN(const RunSpec spec, run_spec_for(options, plan));

  if (options.plan_only && options.as_json) {
    fmt::print("{}\n", plan_json(plan).dump(2));
    return kExitDone;
  }
  // With --json the only document on stdout is the trainer's outcome.
  fmt::print(options.as_json ? stderr : stdout, "{}Data: {}\n", plan_text(plan), data.description);
  std::fflush(nullptr);
  if (options.plan_only) return kExitDone;
  VRAMWISE_ASSIGN_OR_RETURN(const std::string run_file, prepare_output_folder(spec));
  return become_trainer(run_file, options.as_json, visible_devices_of(plan.request.cards));
}

}  // namespace

void add_train_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("train", "Plan, print the plan, and train a decoder within it");
  auto options = std::make_shared<Options>();
  options->plan.add_to(*command);
  command->add_flag("--trust_vram", options->trust_vram, "Plan for --vram even where this machine has less free")
      ->group("Memory");
  command->add_option("--device", options->device, "auto, cuda or cpu")
      ->check(CLI::IsMember({"auto", "cuda", "cpu"}))
      ->capture_default_str()
      ->group("Memory");
  options->run.add_to(*command);
  options->model.add_to(*command);
  command->add_flag("--plan_only", options->plan_only, "Print the plan and stop");
  command->add_flag("--json", options->as_json,
                    "Print the outcome (with --plan_only: the plan) as JSON (docs/formats.md)");
  command->callback([options, &outcome] { outcome = train(*options); });
}

}  // namespace vramwise::cli
