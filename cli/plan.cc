// vramwise plan: what fits, as the report block or as JSON. Nothing is trained and no memory is taken.
#include "plan/plan.h"

#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "base/units.h"
#include "cli/cards.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/plan_compare.h"
#include "cli/plan_file.h"
#include "cli/plan_options.h"
#include "cli/plan_training.h"
#include "cli/plan_verify.h"
#include "cli/terminal.h"
#include "device/machine.h"
#include "device/system.h"
#include "plan/alternatives.h"
#include "report/plan_json.h"
#include "report/plan_search_text.h"
#include "report/plan_text.h"
#include "report/verified_text.h"

namespace vramwise::cli {
namespace {

struct Options {
  ModelOptions model;
  PlanOptions plan;
  CompareOptions compare;
  TrainerChoice trainer;
  std::string save;
  bool verify = false;
  bool verbose = false;
  bool as_json = false;
};

/// plan keeps --vram whatever the machine has: where the machine has no card, that amount is one.
Result<CardSet> cards_for(const Options& options, const VramTarget& target) {
  if (!options.plan.gpu.empty()) return chosen_cards(options.plan.gpu);
  if (options.compare.is_asked()) return assumed_card(Bytes::gib(24));  // each row has cards of its own
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, detected_cards(machine));
  if (set.origin == CardOrigin::kHost && target.kind != VramTarget::Kind::kAuto) return assumed_card(target.total);
  return set;
}

struct Question {
  PlanRequest request;
  std::vector<std::string> notes;
};

Result<Question> question_of(const Options& options) {
  Question question;
  PlanRequest& request = question.request;
  VRAMWISE_ASSIGN_OR_RETURN(request.target, options.plan.target());
  VRAMWISE_ASSIGN_OR_RETURN(request.safety_margin, options.plan.margin());
  VRAMWISE_ASSIGN_OR_RETURN(request.model, options.model.resolve(std::nullopt));
  request.model_name = options.model.name();
  VRAMWISE_ASSIGN_OR_RETURN(request.overrides, options.plan.overrides(request.model.n_layers));
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, cards_for(options, request.target));
  if (set.origin == CardOrigin::kChosen) {
    if (const auto asked = keep_to_cards(request.target, set)) {
      request.target.note =
          fmt::format("{} GB were asked for, but CUDA gives {} GB on {}: planned for those", format_gib(*asked),
                      format_gib(request.target.total), set.cards.size() == 1 ? set.cards.front().name : "these cards");
    }
  }
  if (set.origin == CardOrigin::kDetected) leave_out_full_cards(set, request.safety_margin);
  request.cards = std::move(set.cards);
  request.origin = set.origin;
  VRAMWISE_RETURN_IF_ERROR(options.plan.apply_search(request));
  question.notes = std::move(set.notes);
  return question;
}

/// What would fit instead, beside why this does not.
Outcome explain_refusal(const Options& options, const PlanRequest& request, const Error& why) {
  tell_unsaved(options.save);
  const std::vector<Alternative> changes = changes_that_fit(request);
  const std::vector<const GpuModel*> cards =
      request.cards.front().backend == Backend::kCuda ? cards_that_fit(request) : std::vector<const GpuModel*>();
  if (options.as_json) {
    Json json = changes_json(changes, cards);
    json["schema"] = "vramwise.plan";
    json["schema_version"] = kPlanSchemaVersion;
    json["fits"] = false;
    json["message"] = why.what;
    fmt::print("{}\n", json.dump(2));
    return why;
  }
  Error told = why;
  std::string text = alternatives_text(changes, cards, {});
  if (!text.empty() && text.back() == '\n') text.pop_back();
  told.remedy += (told.remedy.empty() || text.empty() ? "" : "\n") + text;
  return told;
}

Json verify_json(const Plan& plan, const Verification& run) {
  Json cards = Json::array();
  for (std::size_t i = 0; i < plan.cards.size(); ++i) {
    cards.push_back({{"index", i},
                     {"measured_bytes", run.device_peaks[i].count()},
                     {"predicted_bytes", plan.cards[i].ledger.device.count()}});
  }
  return {{"verdict", run.verdict}, {"cards", cards}};
}

Outcome plan(const Options& options) {
  const bool compares = options.compare.is_asked();
  if (asks_for_other(options.trainer)) {
    if (compares || !options.compare.prices.empty())
      return usage_error("--compare, --recommend and --prices are for vramwise train's plans",
                         "Plan for one kind of card at a time.");
    return plan_for_other(
        options.trainer, options.plan,
        {.save = options.save, .verify = options.verify, .verbose = options.verbose, .as_json = options.as_json});
  }
  if (!compares && !options.compare.prices.empty())
    return usage_error("--prices is for cards that are compared", "Add --recommend or --compare.");
  if (compares && (!options.save.empty() || options.verify || !options.plan.calibration.empty()))
    return usage_error("--save, --verify and --calibration are about one plan, not about cards that are compared",
                       "Leave out --compare and --recommend.");
  Options asked = options;
  // Without a word on the strategy, cards are compared by what they can do.
  if (compares && asked.plan.strategy.empty()) asked.plan.strategy = strategy_name(Strategy::kFastest);
  VRAMWISE_ASSIGN_OR_RETURN(Question question, question_of(asked));
  if (compares && question.request.allowed.seq_len)
    return usage_error("cards are compared for the same training, so --allow seq_len is not for them",
                       "--seq_len says for which length.");
  if (compares) {
    CompareOptions compare = options.compare;
    compare.as_json = options.as_json;
    return compare_cards(question.request, compare);
  }
  Result<Plan> made = make_plan(question.request);
  if (!made.ok() && made.error().code == ErrorCode::kDoesNotFit)
    return explain_refusal(options, question.request, made.error());
  VRAMWISE_ASSIGN_OR_RETURN(Plan plan, std::move(made));
  plan.notes.insert(plan.notes.begin(), question.notes.begin(), question.notes.end());
  if (plan.request.strategy == Strategy::kGuide) plan.gain = gain_of_fastest(plan);
  if (!options.save.empty()) VRAMWISE_RETURN_IF_ERROR(save_plan(plan, options.save));

  std::optional<Verification> run;
  Json verified;
  if (options.verify) {
    VRAMWISE_ASSIGN_OR_RETURN(run, verify(plan_json(plan).dump(), plan.step.seq_len, options.plan.gpu));
    verified = verify_json(plan, *run);
    if (options.verbose || !is_as_predicted(verified)) tell_output(*run);
  }
  if (options.as_json) {
    Json json = plan_json(plan);
    if (run) json["verified"] = verified;
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}{}", plan_text(plan, terminal_style()), verified_text(verified));
  }
  return run ? run->exit_code : kExitDone;
}

}  // namespace

void add_plan_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("plan", "Choose a configuration that fits, and show what it takes");
  auto options = std::make_shared<Options>();
  options->plan.add_to(*command);
  options->model.add_to(*command);
  constexpr const char* kQuestions = "Questions";
  command->add_option("--compare", options->compare.compare, "A row for each: rtx-4090,a100-40gb,2xrtx-3090")
      ->group(kQuestions);
  command->add_flag("--recommend", options->compare.recommend, "The smallest card of the catalogue that holds it")
      ->group(kQuestions);
  command
      ->add_option("--prices", options->compare.prices,
                   "JSON of prices an hour, {\"l4\": 0.7}: the cheapest card for a token comes first")
      ->group(kQuestions);
  add_trainer_options(*command, options->trainer, kQuestions);
  command->add_option("--save", options->save, "Write the plan here, for `vramwise train --plan` and `explain`");
  CLI::Option* verify = command->add_flag("--verify", options->verify,
                                          "Train two steps by it on emulated cards (--gpu); three with --for");
  command->add_flag("--verbose", options->verbose, "With --verify: what the trainer printed, too")->needs(verify);
  command->add_flag("--json", options->as_json, "Print JSON (docs/formats.md)");
  command->callback([options, &outcome] { outcome = plan(*options); });
}

}  // namespace vramwise::cli
