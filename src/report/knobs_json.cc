// Of each knob its values and, for each trainer, where and how a value is said.
#include "report/knobs_json.h"

#include <cstring>

#include "base/json.h"
#include "plan/training/words.h"

namespace vramwise {
namespace {

Json text_or_null(const char* text) { return text == nullptr ? Json() : Json(text); }

Json values_json(const Knob& knob) {
  Json values = Json::array();
  for (const KnobValue& value : knob.values)
    values.push_back({{"value", value.name},
                      {"mathematics", mathematics_text(value.mathematics)},
                      {"allow", text_or_null(value.allow)}});
  return values;
}

Json words_json(const Knob& knob, Trainer trainer) {
  Json words = Json::array();
  for (const Words& each : all_words())
    if ((each.trainers & only(trainer)) != 0 && std::strcmp(each.knob, knob.name) == 0 && *each.text != 0)
      words.push_back({{"value", text_or_null(each.value)}, {"place", place_name(each.place)}, {"text", each.text}});
  return {{"can_turn", can_turn(trainer, knob)}, {"words", words}};
}

}  // namespace

Json knobs_json() {
  Json knobs = Json::array();
  for (const Knob& knob : training_knobs()) {
    Json trainers = Json::object();
    for (const std::string& name : trainer_names()) trainers[name] = words_json(knob, *parse_trainer(name));
    knobs.push_back({{"knob", knob.name},
                     {"changes", knob.changes},
                     {"mathematics", mathematics_text(knob.mathematics)},
                     {"allow", text_or_null(knob.allow)},
                     {"for_several_cards", knob.is_for_several_cards},
                     {"values", values_json(knob)},
                     {"trainers", trainers}});
  }
  return {{"schema", "vramwise.knobs"}, {"schema_version", 1}, {"knobs", knobs}};
}

}  // namespace vramwise
