// Keys are those of training_plan_json(); what a file lacks is left out.
#include "report/training_plan_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/units.h"
#include "report/plan_search_text.h"
#include "report/verified_text.h"

namespace vramwise {
namespace {

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

double number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

std::string size_of(const Json& object, const char* key) {
  return format_size(Bytes(static_cast<std::int64_t>(number_of(object, key))));
}

Json list_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : Json::array();
}

Json configuration_of(const Json& row) {
  const auto found = row.find("configuration");
  return found != row.end() && found->is_object() ? *found : Json::object();
}

bool is_known(const Json& plan) { return text_of(plan, "speed_is_known") == "true"; }

std::string head_text(const Json& plan) {
  const auto cards = static_cast<std::int64_t>(number_of(plan, "cards"));
  std::string text =
      fmt::format("For {}: {} ({} parameters), {} tokens a sequence, {} sequences a step\n", text_of(plan, "trainer"),
                  text_of(plan, "model"), format_count(static_cast<std::int64_t>(number_of(plan, "parameters"))),
                  text_of(configuration_of(plan), "seq_len"), text_of(plan, "effective_batch_size"));
  text += fmt::format("On {}{}: {} of {} usable{}", cards > 1 ? fmt::format("{} ", cards) : "", text_of(plan, "card"),
                      size_of(plan, "device_bytes"), size_of(plan, "usable_bytes"), cards > 1 ? " of each" : "");
  if (is_known(plan))
    text += fmt::format(", {} tokens/s predicted", grouped(std::llround(number_of(plan, "tokens_per_s"))));
  return text + "\n" + text_of(configuration_of(plan), "summary") + "\n";
}

std::string documents_text(const Json& plan) {
  std::string text;
  for (const Json& document : list_of(plan, "documents"))
    text += fmt::format("\n--- {}\n{}", text_of(document, "name"), text_of(document, "text"));
  return text;
}

std::string decisions_text(const Json& plan, TextStyle style) {
  const Json decisions = list_of(plan, "decisions");
  if (decisions.empty()) return "Why: every knob is at its plain value, which fits and is fastest\n";
  Table table({"knob", "<value", "saves", "costs time", "<mathematics", "<"});
  for (const Json& each : decisions) {
    const bool fits = text_of(each, "fits_without") == "true";
    table.add({text_of(each, "knob"), text_of(each, "value"), size_of(each, "saved_bytes"),
               fmt::format("{:+.1f} %", 100 * number_of(each, "slowdown")), text_of(each, "mathematics"),
               fits ? "" : "does not fit without"});
  }
  return "Why (each knob against the same plan without it):\n" + table.text(style);
}

std::string runner_ups_text(const Json& plan, TextStyle style) {
  const double best = number_of(plan, "tokens_per_s");
  Table table({"<configuration", "memory", "speed"});
  const auto add = [&](const Json& row, bool emphasized) {
    table.add({text_of(configuration_of(row), "summary"), size_of(row, "device_bytes"),
               speed_text(number_of(row, "tokens_per_s"), is_known(plan), best)},
              emphasized);
  };
  add(plan, true);
  for (const Json& row : list_of(plan, "runner_ups")) add(row, false);
  return "Runner-ups (the fastest with less memory each):\n" + table.text(style);
}

}  // namespace

std::string training_plan_text(const Json& plan, TextStyle style) {
  std::string text =
      head_text(plan) + documents_text(plan) + "\n" + decisions_text(plan, style) + runner_ups_text(plan, style);
  if (is_known(plan))
    text += "Speeds: 78 published runs were predicted with a median error of 16 %, either way (docs/accuracy.md)\n";
  if (const auto verified = plan.find("verified"); verified != plan.end()) text += verified_text(*verified);
  for (const Json& note : list_of(plan, "notes"))
    if (note.is_string()) text += "Note: " + note.get<std::string>() + "\n";
  return text;
}

std::string training_changes_text(const Json& refusal, TextStyle style) {
  std::string text;
  Table table({"change", "<mathematics", "<what it does", "memory"});
  for (const Json& each : list_of(refusal, "changes"))
    table.add(
        {text_of(each, "change"), text_of(each, "mathematics"), text_of(each, "why"), size_of(each, "device_bytes")});
  if (const std::string rows = table.text(style); !rows.empty()) text += "Single changes that would fit:\n" + rows;
  std::vector<std::string> cards;
  for (const Json& card : list_of(refusal, "fitting_cards"))
    if (card.is_string()) cards.push_back(card.get<std::string>());
  if (!cards.empty()) text += fmt::format("Cards on which it fits as it is: {}\n", fmt::join(cards, ", "));
  if (text.empty())
    text =
        "No single change makes it fit, nor any other card. --for fsdp2 shares a model among several (--gpu 8xNAME).\n";
  return text;
}

}  // namespace vramwise
