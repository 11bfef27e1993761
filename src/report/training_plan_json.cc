// See training_plan_json.h.
#include "report/training_plan_json.h"

#include <fmt/format.h>

#include "base/json.h"

namespace vramwise {
namespace {

/// Each knob's value, by its name in the table of knobs.
Json configuration_json(const TrainingConfiguration& configuration) {
  const TrainingSettings& s = configuration.settings;
  Json json = {{"summary", summary_of(configuration)},
               {"micro_batch", s.micro_batch},
               {"accumulation", s.gradient_accumulation_steps},
               {"seq_len", s.seq_len}};
  if (s.checkpointing.every > 1) {
    json["checkpointing"] = fmt::format("every-{}", s.checkpointing.every);
  } else if (s.checkpointing.layers == kAllLayers) {
    json["checkpointing"] = "all";
  } else {
    json["checkpointing"] = s.checkpointing.layers;
  }
  for (const Knob& knob : training_knobs())
    if (const KnobValue* value = value_of(knob, configuration)) json[knob.name] = value->name;
  if (s.lora.is_on()) json["lora_rank"] = s.lora.rank;
  return json;
}

Json choice_json(const TrainingChoice& choice) {
  return {{"configuration", configuration_json(choice.configuration)},
          {"device_bytes", choice.device.count()},
          {"tokens_per_s", choice.tokens_per_s()}};
}

Json head_json(const TrainingPlanReport& report, bool fits) {
  const TrainingRequest& request = report.request;
  return {{"schema", "vramwise.plan_training"},
          {"schema_version", kTrainingPlanSchemaVersion},
          {"fits", fits},
          {"trainer", trainer_name(request.trainer)},
          {"model", request.model_name},
          {"card", report.card},
          {"cards", request.cards},
          {"usable_bytes", request.usable.count()},
          {"effective_batch_size", request.sequences},
          {"speed_is_known", request.rates.is_known}};
}

Json decisions_json(const TrainingPlan& plan) {
  Json list = Json::array();
  for (const TrainingDecision& each : plan.decisions)
    list.push_back({{"knob", each.knob},
                    {"value", each.value},
                    {"mathematics", mathematics_text(each.mathematics)},
                    {"saved_bytes", each.saved.count()},
                    {"slowdown", each.slowdown},
                    {"fits_without", each.fits_without}});
  return list;
}

}  // namespace

std::string summary_of(const TrainingConfiguration& configuration) {
  const TrainingSettings& s = configuration.settings;
  std::string text = fmt::format("batch {} x {}", s.micro_batch, s.gradient_accumulation_steps);
  if (s.checkpointing.every > 1) {
    text += fmt::format(", one of {} layers recomputed", s.checkpointing.every);
  } else if (s.checkpointing.layers == kAllLayers) {
    text += ", every layer recomputed";
  }
  if (s.checkpointing.is_on() && s.checkpointing.layers < kAllLayers)
    text += s.checkpointing.layers == 1 ? std::string(", the first layer recomputed")
                                        : fmt::format(", the first {} layers recomputed", s.checkpointing.layers);
  for (const Knob& knob : training_knobs()) {
    const KnobValue* value = value_of(knob, configuration);
    if (value == nullptr) continue;
    const bool is_plain = value == &knob.values.front() && !knob.is_for_several_cards;
    if (!is_plain) text += fmt::format(", {} {}", knob.name, value->name);
  }
  return text;
}

Told told_of(const TrainingRequest& request, const TrainingPlan& plan) {
  return {.trainer = request.trainer,
          .configuration = plan.best.configuration,
          .model = request.model_name,
          .auto_class = request.model.architecture.auto_class,
          .cards = request.cards,
          .named = request.named};
}

Json training_plan_json(const TrainingPlanReport& report, const TrainingPlan& plan) {
  const TrainingRequest& request = report.request;
  Json json = head_json(report, true);
  json.update(choice_json(plan.best));
  json["parameters"] = plan.best.estimate.parameters;
  json["trained_parameters"] = plan.best.estimate.trained_parameters;
  json["allocated_bytes"] = plan.best.estimate.allocated.count();
  json["reserved_bytes"] = plan.best.estimate.reserved.count();
  json["step_s"] = plan.best.seconds;
  json["documents"] = Json::array();
  for (const Document& document : documents_of(told_of(request, plan)))
    json["documents"].push_back({{"name", document.name}, {"text", document.text}});
  json["decisions"] = decisions_json(plan);
  json["runner_ups"] = Json::array();
  for (const TrainingChoice& row : plan.runner_ups) json["runner_ups"].push_back(choice_json(row));
  json["candidates"] = plan.candidates;
  json["replays"] = plan.estimates;
  json["notes"] = plan.notes;
  return json;
}

Json no_training_plan_json(const TrainingPlanReport& report, const std::string& why,
                           const std::vector<TrainingAlternative>& changes, const std::vector<const GpuModel*>& cards) {
  Json json = head_json(report, false);
  json["message"] = why;
  json["changes"] = Json::array();
  for (const TrainingAlternative& each : changes) {
    Json row = choice_json(each.plan.best);
    row["change"] = each.change;
    row["mathematics"] = mathematics_text(each.mathematics);
    row["changes_objective"] = changes_objective(each.mathematics);
    row["why"] = each.why;
    json["changes"].push_back(std::move(row));
  }
  json["fitting_cards"] = Json::array();
  for (const GpuModel* card : cards) json["fitting_cards"].push_back(card->id);
  return json;
}

}  // namespace vramwise
