// vramwise plan: what fits, as the report block or as JSON. Nothing is trained and no memory is taken.
#include "plan/plan.h"

#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "base/units.h"
#include "cli/cards.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/plan_options.h"
#include "device/machine.h"
#include "device/system.h"
#include "report/plan_json.h"
#include "report/plan_text.h"

namespace vramwise::cli {
namespace {

struct Options {
  ModelOptions model;
  PlanOptions plan;
  bool as_json = false;
};

/// plan keeps --vram whatever the machine has: where the machine has no card, that amount is one.
Result<CardSet> cards_for(const Options& options, const VramTarget& target) {
  if (!options.plan.gpu.empty()) return chosen_cards(options.plan.gpu);
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  VRAMWISE_ASSIGN_OR_RETURN(CardSet set, detected_cards(machine));
  if (set.origin == CardOrigin::kHost && target.kind != VramTarget::Kind::kAuto) return assumed_card(target.total);
  return set;
}

Outcome plan(const Options& options) {
  PlanRequest request;
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

  VRAMWISE_ASSIGN_OR_RETURN(Plan plan, make_plan(request));
  plan.notes.insert(plan.notes.begin(), set.notes.begin(), set.notes.end());
  if (options.as_json) {
    fmt::print("{}\n", plan_json(plan).dump(2));
  } else {
    fmt::print("{}", plan_text(plan));
  }
  return kExitDone;
}

}  // namespace

void add_plan_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("plan", "Choose a configuration that fits, and show what it takes");
  auto options = std::make_shared<Options>();
  options->plan.add_to(*command);
  options->model.add_to(*command);
  command->add_flag("--json", options->as_json, "Print JSON (docs/formats.md)");
  command->callback([options, &outcome] { outcome = plan(*options); });
}

}  // namespace vramwise::cli
