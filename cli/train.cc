// vramwise train: checks the data, plans for the memory that is really there, prints the plan, and becomes the trainer.
//
// Everything is decided here, before torch is loaded and before any memory is taken; `vramwise-train` gets the outcome
// as <out_dir>/run.json.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/units.h"
#include "cli/cards.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/output_folder.h"
#include "cli/plan_file.h"
#include "cli/plan_options.h"
#include "cli/resume.h"
#include "cli/run_options.h"
#include "cli/terminal.h"
#include "cli/trainer_process.h"
#include "data/dataset.h"
#include "device/machine.h"
#include "device/system.h"
#include "io/files.h"
#include "io/folder_space.h"
#include "plan/plan.h"
#include "report/plan_json.h"
#include "report/plan_text.h"
#include "report/saved_plan.h"
#include "run/checkpoint_state.h"
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
  std::string plan_file;
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
void keep_to_the_machine(VramTarget& target, const CardSet& set) {
  const std::optional<Bytes> asked = keep_to_cards(target, set);
  if (!asked) return;
  target.note = fmt::format(
      "{} GB were asked for, but this machine has {} GB free: planned for those (--trust_vram plans for {} GB all the "
      "same)",
      format_gib(*asked), format_gib(target.total), format_gib(*asked));
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

Error continuing_does_not_fit(const EarlierRun& earlier, const PlanRequest& request, const Error& why) {
  return does_not_fit(
      fmt::format("--resume: the run's sequences of {} tokens and {} of them a step are kept, and {}",
                  *request.overrides.seq_len,
                  request.overrides.effective_batch.value_or(earlier.run.effective_batch_size()), why.what),
      "Continue it where there is more memory (--vram), or change the training on purpose with a shorter --seq_len.");
}

/// Where optimizer states would go: host memory for cards, a file in the output folder for the CPU.
Result<std::optional<OffloadTier>> offload_tier(const Options& options, const PlanRequest& request,
                                                const Machine& machine) {
  if (request.cards.front().backend == Backend::kCuda) {
    const std::optional<Bytes> budget = machine.host.budget();
    // Emulated cards stand for another machine, whose host memory is not this one's.
    if (!budget || options.trust_vram || std::getenv("VRAMWISE_GPUS") != nullptr) return std::optional<OffloadTier>();
    return std::optional<OffloadTier>({"host memory", std::max(Bytes(0), *budget - request.safety_margin)});
  }
  VRAMWISE_ASSIGN_OR_RETURN(const FolderSpace space, folder_space(options.run.out_dir));
  if (!space.is_in_memory) return std::optional<OffloadTier>({"the disk of " + options.run.out_dir, space.free});
  // A file in memory frees none: only what is left over beside the run itself counts, and that is looked at later.
  const bool asked = request.overrides.offload_optimizer.value_or(false);
  return std::optional<OffloadTier>(
      {options.run.out_dir + ", which lies in memory itself (tmpfs),", asked ? space.free : Bytes(0)});
}

/// A file with optimizer states in memory counts like the rest of the run.
Status count_states_in_memory(const Options& options, Plan& plan) {
  const CardPlan& host = plan.cards.front();
  if (host.card.backend != Backend::kCpu || !plan.step.offload_optimizer) return Done{};
  VRAMWISE_ASSIGN_OR_RETURN(const FolderSpace space, folder_space(options.run.out_dir));
  if (!space.is_in_memory) return Done{};
  const Bytes taken = host.ledger.device + host.ledger.offloaded;
  if (taken > host.usable) {
    return does_not_fit(
        fmt::format("{} lies in memory (tmpfs), so optimizer states there save nothing: {} are needed, {} are usable",
                    options.run.out_dir, format_size(taken), format_size(host.usable)),
        "Name an --out_dir on a disk.");
  }
  plan.notes.push_back(
      fmt::format("{} lies in memory (tmpfs), so optimizer states there save nothing: the run takes {}",
                  options.run.out_dir, format_size(taken)));
  return Done{};
}

/// A disk that is too small is a fault of the machine, not a plan that does not fit.
Status require_disk_for_offload(const PlanRequest& request) {
  if (request.cards.front().backend != Backend::kCpu || !request.offload_tier) return Done{};
  if (!request.overrides.offload_optimizer.value_or(false)) return Done{};
  const std::int64_t buffers = request.overrides.precision.value_or(Precision::kFp32) == Precision::kFp32 ? 2 : 3;
  const Bytes needed(parameter_count(request.model) * buffers * std::int64_t{sizeof(float)});
  if (needed <= request.offload_tier->room) return Done{};
  return world_error(
      fmt::format("--cpu_offload keeps optimizer states of {} in a file, and {} has {} free", format_size(needed),
                  request.offload_tier->name, format_size(request.offload_tier->room)),
      "Name an --out_dir with more room, or leave --cpu_offload out.");
}

Result<Plan> plan_for(const Options& options, const DecoderConfig& model, const std::optional<EarlierRun>& earlier,
                      const std::optional<SavedPlan>& saved) {
  PlanRequest request;
  request.model = model;
  request.model_name = earlier ? name_of_model(model) : options.model.name();
  VRAMWISE_ASSIGN_OR_RETURN(request.target, planned_target(options));
  VRAMWISE_ASSIGN_OR_RETURN(request.safety_margin, options.plan.margin());
  VRAMWISE_ASSIGN_OR_RETURN(request.overrides, options.plan.overrides(model.n_layers));
  if (earlier) take_over(*earlier, request.overrides);
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, training_cards(options, machine));
  if (!options.trust_vram) keep_to_the_machine(request.target, set);
  leave_out_full_cards(set, request.safety_margin);
  request.cards = std::move(set.cards);
  request.origin = set.origin;
  VRAMWISE_RETURN_IF_ERROR(options.plan.apply_search(request));
  if (saved) VRAMWISE_RETURN_IF_ERROR(apply(*saved, request));
  VRAMWISE_ASSIGN_OR_RETURN(request.offload_tier, offload_tier(options, request, machine));
  VRAMWISE_RETURN_IF_ERROR(require_disk_for_offload(request));
  Result<Plan> planned = make_plan(request);
  if (!planned.ok() && earlier && planned.error().code == ErrorCode::kDoesNotFit)
    return continuing_does_not_fit(*earlier, request, planned.error());
  VRAMWISE_ASSIGN_OR_RETURN(Plan plan, std::move(planned));
  VRAMWISE_RETURN_IF_ERROR(count_states_in_memory(options, plan));
  plan.notes.insert(plan.notes.begin(), set.notes.begin(), set.notes.end());
  if (plan.request.strategy == Strategy::kGuide && !saved) plan.gain = gain_of_fastest(plan);
  return plan;
}

Result<RunSpec> run_spec_for(const Options& options, const Plan& plan) {
  RunSpec spec;
  spec.model = plan.request.model;
  spec.step = plan.step;
  for (const CardPlan& card : plan.cards) {
    spec.replicas.push_back({.device = card.card.device,
                             .micro_batch = card.micro_batch,
                             .sequences = plan.request.sequences.empty() ? 0 : card.sequences,
                             .knobs = card.knobs,
                             .predicted_peak = card.ledger.device - card.card.target.context,
                             .budget = card.usable});
  }
  // The trainer's first replica is the one with the optimizer.
  std::swap(spec.replicas.front(), spec.replicas[plan.optimizer_card()]);
  spec.step = spec.settings_of(spec.replicas.front());
  spec.step.micro_batch = spec.replicas.front().micro_batch;
  if (spec.replicas.size() == 1) spec.replicas.front().knobs.reset();
  spec.effective_batch = plan.effective_batch_size();
  VRAMWISE_RETURN_IF_ERROR(options.run.apply_to(spec));
  return spec;
}

/// What --resume continues, if it was given.
Result<std::optional<EarlierRun>> earlier_run(const Options& options) {
  if (!options.run.resume) return std::optional<EarlierRun>();
  VRAMWISE_ASSIGN_OR_RETURN(EarlierRun earlier, find_earlier_run(options.run.out_dir));
  return std::optional<EarlierRun>(std::move(earlier));
}

/// The plan of --plan, if it was given: it says everything that flags would.
Result<std::optional<SavedPlan>> saved_plan(const Options& options, const CLI::App& command) {
  if (options.plan_file.empty()) return std::optional<SavedPlan>();
  if (options.run.resume) return usage_error("--plan and --resume contradict each other", "A run goes on by its own.");
  constexpr std::int64_t kAnyModel = 1 << 20;
  VRAMWISE_ASSIGN_OR_RETURN(const Overrides fixed, options.plan.overrides(kAnyModel));
  if (options.model.is_given(command) || fixes_anything(fixed) || !options.plan.strategy.empty()) {
    return usage_error("--plan says model and configuration already",
                       "Leave out the flags beside it, or plan anew with them.");
  }
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_json_file(options.plan_file));
  VRAMWISE_ASSIGN_OR_RETURN(SavedPlan plan, saved_plan_from_json(json));
  return std::optional<SavedPlan>(std::move(plan));
}

Result<DecoderConfig> model_for(const Options& options, const std::optional<EarlierRun>& earlier, const Dataset& data,
                                const CLI::App& command) {
  std::optional<DecoderConfig> asked;
  if (!earlier || options.model.is_given(command)) {
    VRAMWISE_ASSIGN_OR_RETURN(asked, options.model.resolve(data.vocab_size));
  }
  return earlier ? model_to_continue(*earlier, asked) : Result<DecoderConfig>(*asked);
}

Status say_what_changes(const EarlierRun& earlier, const RunSpec& spec) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> changes, changes_of_training(earlier, spec));
  for (const std::string& change : changes) fmt::print(stderr, "vramwise: {}\n", change);
  return Done{};
}

/// The lock on what --resume continues. Taken before the checkpoints are looked at, so that they are still the newest
/// when the trainer reads them.
Result<std::optional<FileLock>> lock_to_resume(const Options& options) {
  if (!options.run.resume || options.plan_only || !path_exists(options.run.out_dir)) return std::optional<FileLock>();
  VRAMWISE_ASSIGN_OR_RETURN(FileLock lock, lock_output_folder(options.run.out_dir));
  return std::optional<FileLock>(std::move(lock));
}

struct Decided {
  Dataset data;
  Plan plan;
  RunSpec spec;
};

/// Data, plan and run. Flags that a run to be resumed says are taken over into `options`.
Result<Decided> decide(Options& options, const CLI::App& command, const std::optional<SavedPlan>& saved) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::optional<EarlierRun> earlier, earlier_run(options));
  if (earlier) take_over(*earlier, command, options.run);
  VRAMWISE_ASSIGN_OR_RETURN(Dataset data, open_data(options.run));
  for (const std::string& warning : data.warnings) fmt::print(stderr, "vramwise: {}\n", warning);
  VRAMWISE_ASSIGN_OR_RETURN(const DecoderConfig model,
                            saved ? Result<DecoderConfig>(saved->model) : model_for(options, earlier, data, command));
  VRAMWISE_ASSIGN_OR_RETURN(Plan plan, plan_for(options, model, earlier, saved));
  VRAMWISE_RETURN_IF_ERROR(validate_for_training(data, plan.step.seq_len, model.vocab_size));
  VRAMWISE_ASSIGN_OR_RETURN(RunSpec spec, run_spec_for(options, plan));
  if (earlier) VRAMWISE_RETURN_IF_ERROR(say_what_changes(*earlier, spec));
  return Decided{.data = std::move(data), .plan = std::move(plan), .spec = std::move(spec)};
}

Outcome train(Options options, const CLI::App& command) {
  VRAMWISE_RETURN_IF_ERROR(options.plan.target());
  VRAMWISE_RETURN_IF_ERROR(options.plan.margin());
  VRAMWISE_ASSIGN_OR_RETURN(const std::optional<SavedPlan> saved, saved_plan(options, command));
  VRAMWISE_ASSIGN_OR_RETURN(std::optional<FileLock> lock, lock_to_resume(options));
  VRAMWISE_ASSIGN_OR_RETURN(const Decided decided, decide(options, command, saved));
  const Plan& plan = decided.plan;

  if (options.plan_only && options.as_json) {
    fmt::print("{}\n", plan_json(plan).dump(2));
    return kExitDone;
  }
  // With --json the only document on stdout is the trainer's outcome.
  fmt::print(options.as_json ? stderr : stdout, "{}Data: {}\n",
             plan_text(plan, options.as_json ? TextStyle() : terminal_style()), decided.data.description);
  std::fflush(nullptr);
  if (options.plan_only) return kExitDone;
  if (!lock) {
    VRAMWISE_ASSIGN_OR_RETURN(lock, lock_output_folder(decided.spec.out_dir));
  }
  VRAMWISE_ASSIGN_OR_RETURN(const std::string run_file, prepare_output_folder(decided.spec));
  return become_trainer(run_file, options.as_json, visible_devices_of(plan.request.cards), std::move(*lock));
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
  command->add_option("--plan", options->plan_file, "Train by this plan (vramwise plan --save)")->group("Memory");
  command->add_flag("--plan_only", options->plan_only, "Print the plan and stop");
  command->add_flag("--json", options->as_json,
                    "Print the outcome (with --plan_only: the plan) as JSON (docs/formats.md)");
  command->callback([options, command, &outcome] { outcome = train(*options, *command); });
}

}  // namespace vramwise::cli
