// Reads the keys that plan_json() writes; nothing is planned again.
#include "report/explain_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/units.h"
#include "report/plan_shape.h"
#include "report/training_plan_text.h"

namespace vramwise {
namespace {

std::string size_of(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_number() ? format_size(Bytes(object[key].get<std::int64_t>())) : "";
}

std::string text_of(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return "";
  return object[key].is_string() ? object[key].get<std::string>() : object[key].dump();
}

std::string speed_of(const Json& object) {
  const double speed = object.contains("tokens_per_s") ? object["tokens_per_s"].get<double>() : 0;
  return speed > 0 ? grouped(std::llround(speed)) : "";
}

/// "15 x 1 + 7 x 2": micro-batch x passes of each card.
std::string batches_of(const Json& plan) {
  std::string text;
  for (const Json& card : plan.value("cards", Json::array())) {
    const auto micro_batch = std::max<std::int64_t>(1, card.value("micro_batch", std::int64_t{1}));
    const std::int64_t passes = (card.value("sequences", std::int64_t{0}) + micro_batch - 1) / micro_batch;
    text += fmt::format("{}{} x {}", text.empty() ? "" : " + ", micro_batch, passes);
  }
  return text;
}

/// "3 + 7" where the cards have their own, as batches_of() has theirs.
std::string knob_of(const Json& plan, const char* knob) {
  std::vector<std::string> values;
  for (const Json& card : plan.value("cards", Json::array())) values.push_back(text_of(card, knob));
  const bool equal =
      std::all_of(values.begin(), values.end(), [&](const auto& value) { return value == values.front(); });
  return equal ? text_of(plan.value("configuration", Json::object()), knob)
               : fmt::format("{}", fmt::join(values, " + "));
}

std::string settings_of(const Json& c, const std::string& batches) {
  return fmt::format("batch {}, {} checkpointed{}, loss by {}, {}", batches, text_of(c, "checkpointed_blocks"),
                     text_of(c, "use_cpu_offload") == "true" ? ", offloaded" : "", text_of(c, "loss_chunk_tokens"),
                     text_of(c, "precision"));
}

std::string cards_text(const Json& plan, TextStyle style) {
  Table table({"GPU", "<card", "micro-batch", "sequences a step", "Predicted peak", "usable", "<"});
  std::size_t index = 0;
  for (const Json& card : plan.value("cards", Json::array())) {
    const Json peak = card.value("peak", Json::object());
    const double used = peak.value("device_bytes", 0.0), usable = card.value("usable_bytes", 1.0);
    table.add({std::to_string(index++), text_of(card, "name"), text_of(card, "micro_batch"), text_of(card, "sequences"),
               size_of(peak, "device_bytes"), size_of(card, "usable_bytes"), bar(used / usable, style)});
  }
  return table.text(style);
}

std::string decisions_text(const Json& plan, TextStyle style) {
  Table table({"knob", "<value", "<why"});
  for (const Json& decision : plan.value("decisions", Json::array()))
    table.add({text_of(decision, "knob"), text_of(decision, "change"), text_of(decision, "reason")});
  const std::string text = table.text(style);
  return text.empty() ? "Every knob is at its plain value, or as the table's row has it.\n" : "Why:\n" + text;
}

std::string runner_ups_text(const Json& plan, TextStyle style) {
  Table table({"<instead", "memory", "tokens/s"});
  for (const Json& row : plan.value("runner_ups", Json::array()))
    table.add({settings_of(row.value("configuration", Json::object()), text_of(row, "batches")),
               size_of(row, "device_bytes"), speed_of(row)});
  const std::string text = table.text(style);
  return text.empty() ? "" : "Chosen over:\n" + text;
}

}  // namespace

Result<std::string> explain_text(const Json& plan, TextStyle style) {
  VRAMWISE_RETURN_IF_ERROR(check_plan_shape(plan));
  VRAMWISE_ASSIGN_OR_RETURN(const std::string schema, json_get_or<std::string>(plan, "schema", ""));
  if (schema == "vramwise.plan_training") return training_plan_text(plan, style);
  const Json model = plan.value("model", Json::object());
  const Json configuration = plan.value("configuration", Json::object());
  const Json time = plan.value("time", Json::object());
  std::string text = fmt::format("A plan for {} ({} parameters), strategy {}\n", text_of(model, "name"),
                                 format_count(model.value("parameters", std::int64_t{0})), text_of(plan, "strategy"));
  Json own = configuration;
  for (const char* knob : {"checkpointed_blocks", "loss_chunk_tokens"}) own[knob] = knob_of(plan, knob);
  text += fmt::format("{}; {} tokens a sequence, {} sequences a step\n", settings_of(own, batches_of(plan)),
                      text_of(configuration, "max_seq_len"), text_of(configuration, "effective_batch_size"));
  if (time.value("is_known", false))
    text += fmt::format("Predicted speed: {} tokens/s (rates: {})\n", speed_of(time), text_of(time, "rates_from"));
  text += cards_text(plan, style) + decisions_text(plan, style) + runner_ups_text(plan, style);
  if (const std::string gain = text_of(plan, "gain_of_fastest"); !gain.empty())
    text += fmt::format("--strategy fastest: {}\n", gain);
  for (const Json& note : plan.value("notes", Json::array()))
    if (note.is_string()) text += "Note: " + note.get<std::string>() + "\n";
  return text;
}

}  // namespace vramwise
