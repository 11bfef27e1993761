// Tables of keys, what each holds and what lies in it. What was added to a schema later may be missing.
#include "report/plan_shape.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "report/plan_json.h"
#include "report/training_plan_json.h"

namespace vramwise {
namespace {

/// Beyond this a double no longer tells whole numbers apart; 8 PiB as bytes.
constexpr std::int64_t kLargest = std::int64_t{1} << 53;

enum class Holds {
  kText,
  kFlag,
  kCount,   ///< a whole number that isn't negative
  kChange,  ///< a whole number
  kAmount,  ///< a number that isn't negative
  kRatio,   ///< a number
  kTexts,
  kObject,
  kObjects,
};

struct Key {
  const char* name;
  Holds holds;
  std::vector<Key> inside = {};  ///< keys of the object, or of each object of the list
  bool may_lack = false;
};

Key optional(Key key) {
  key.may_lack = true;
  return key;
}

const char* described(Holds holds) {
  switch (holds) {
    case Holds::kText:
      return "a text";
    case Holds::kFlag:
      return "true or false";
    case Holds::kCount:
      return "a whole number from 0 to 2^53";
    case Holds::kChange:
      return "a whole number of at most 2^53";
    case Holds::kAmount:
      return "a number from 0 to 2^53";
    case Holds::kRatio:
      return "a number of at most 2^53";
    case Holds::kTexts:
      return "a list of texts";
    case Holds::kObject:
      return "an object";
    case Holds::kObjects:
      return "a list of objects";
  }
  return "?";
}

bool all_are(const Json& list, bool (Json::*is)() const noexcept) {
  if (!list.is_array()) return false;
  for (const Json& each : list)
    if (!(each.*is)()) return false;
  return true;
}

bool is_within(const Json& value, double least) {
  return value.is_number() && value.get<double>() >= least && value.get<double>() <= static_cast<double>(kLargest);
}

bool holds(const Json& value, Holds what) {
  switch (what) {
    case Holds::kText:
      return value.is_string();
    case Holds::kFlag:
      return value.is_boolean();
    case Holds::kCount:
      return value.is_number_integer() && is_within(value, 0);
    case Holds::kChange:
      return value.is_number_integer() && is_within(value, -static_cast<double>(kLargest));
    case Holds::kAmount:
      return is_within(value, 0);
    case Holds::kRatio:
      return is_within(value, -static_cast<double>(kLargest));
    case Holds::kTexts:
      return all_are(value, &Json::is_string);
    case Holds::kObject:
      return value.is_object();
    case Holds::kObjects:
      return all_are(value, &Json::is_object);
  }
  return false;
}

Error damaged(const std::string& what) {
  return world_error("the plan is damaged: " + what, "`vramwise plan --save FILE` writes a whole one.");
}

/// `where` is the path of `object` with a full stop at its end.
Status check(const Json& object, const std::vector<Key>& keys, const std::string& where) {
  for (const Key& key : keys) {
    const std::string path = where + key.name;
    const auto found = object.find(key.name);
    if (found == object.end() || found->is_null()) {
      if (key.may_lack) continue;
      return damaged(fmt::format("\"{}\" is missing", path));
    }
    if (!holds(*found, key.holds)) return damaged(fmt::format("\"{}\" is not {}", path, described(key.holds)));
    if (key.holds == Holds::kObject) VRAMWISE_RETURN_IF_ERROR(check(*found, key.inside, path + "."));
    if (key.holds != Holds::kObjects) continue;
    for (std::size_t i = 0; i < found->size(); ++i)
      VRAMWISE_RETURN_IF_ERROR(check((*found)[i], key.inside, fmt::format("{}[{}].", path, i)));
  }
  return Done{};
}

std::vector<Key> own_plan() {
  const std::vector<Key> settings = {{"checkpointed_blocks", Holds::kCount},
                                     {"use_cpu_offload", Holds::kFlag},
                                     {"loss_chunk_tokens", Holds::kCount},
                                     {"precision", Holds::kText}};
  std::vector<Key> whole = settings;
  whole.insert(whole.end(), {{"max_seq_len", Holds::kCount}, {"effective_batch_size", Holds::kCount}});
  const std::vector<Key> time = {
      {"is_known", Holds::kFlag}, {"tokens_per_s", Holds::kAmount}, {"rates_from", Holds::kText}};
  const std::vector<Key> card = {{"name", Holds::kText},
                                 {"micro_batch", Holds::kCount},
                                 {"sequences", Holds::kCount},
                                 {"usable_bytes", Holds::kCount},
                                 optional({"checkpointed_blocks", Holds::kCount}),
                                 optional({"loss_chunk_tokens", Holds::kCount}),
                                 {"peak", Holds::kObject, {{"device_bytes", Holds::kCount}}}};
  const std::vector<Key> decision = {{"knob", Holds::kText}, {"change", Holds::kText}, {"reason", Holds::kText}};
  const std::vector<Key> runner_up = {{"configuration", Holds::kObject, settings},
                                      {"batches", Holds::kText},
                                      {"device_bytes", Holds::kCount},
                                      {"tokens_per_s", Holds::kAmount}};
  return {{"strategy", Holds::kText},
          {"model", Holds::kObject, {{"name", Holds::kText}, {"parameters", Holds::kCount}}},
          {"configuration", Holds::kObject, whole},
          {"time", Holds::kObject, time},
          {"cards", Holds::kObjects, card},
          {"decisions", Holds::kObjects, decision},
          {"runner_ups", Holds::kObjects, runner_up},
          optional({"gain_of_fastest", Holds::kText}),
          {"notes", Holds::kTexts}};
}

std::vector<Key> training_plan() {
  const Key summary = {"summary", Holds::kText};
  const std::vector<Key> document = {{"name", Holds::kText}, {"text", Holds::kText}};
  const std::vector<Key> decision = {{"knob", Holds::kText},        {"value", Holds::kText},
                                     {"mathematics", Holds::kText}, {"saved_bytes", Holds::kChange},
                                     {"slowdown", Holds::kRatio},   {"fits_without", Holds::kFlag}};
  const std::vector<Key> runner_up = {
      {"configuration", Holds::kObject, {summary}}, {"device_bytes", Holds::kCount}, {"tokens_per_s", Holds::kAmount}};
  const std::vector<Key> measured = {
      {"index", Holds::kCount}, {"measured_bytes", Holds::kCount}, {"predicted_bytes", Holds::kCount}};
  return {{"trainer", Holds::kText},
          {"model", Holds::kText},
          {"parameters", Holds::kCount},
          {"card", Holds::kText},
          {"cards", Holds::kCount},
          {"usable_bytes", Holds::kCount},
          {"device_bytes", Holds::kCount},
          {"effective_batch_size", Holds::kCount},
          {"speed_is_known", Holds::kFlag},
          {"tokens_per_s", Holds::kAmount},
          {"configuration", Holds::kObject, {summary, {"seq_len", Holds::kCount}}},
          {"documents", Holds::kObjects, document},
          {"decisions", Holds::kObjects, decision},
          {"runner_ups", Holds::kObjects, runner_up},
          optional({"verified", Holds::kObject, {{"verdict", Holds::kText}, {"cards", Holds::kObjects, measured}}}),
          {"notes", Holds::kTexts}};
}

}  // namespace

Status check_plan_shape(const Json& plan) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string schema, json_get_or<std::string>(plan, "schema", ""));
  const bool is_own = schema == "vramwise.plan";
  if (!is_own && schema != "vramwise.plan_training")
    return usage_error("the file is no plan", "`vramwise plan --save FILE` writes one.");
  VRAMWISE_ASSIGN_OR_RETURN(const std::int64_t version, json_get_or<std::int64_t>(plan, "schema_version", 0));
  if (version != (is_own ? kPlanSchemaVersion : kTrainingPlanSchemaVersion))
    return usage_error("the file is no plan of this version", "`vramwise plan --save FILE` writes one.");
  VRAMWISE_RETURN_IF_ERROR(check(plan, {{"fits", Holds::kFlag}}, ""));
  if (!plan["fits"].get<bool>())
    return world_error("the file tells why there is no plan", "`vramwise plan --save FILE` writes one that fits.");
  VRAMWISE_RETURN_IF_ERROR(check(plan, is_own ? own_plan() : training_plan(), ""));
  if (is_own && plan["cards"].empty()) return damaged("\"cards\" is empty");
  return Done{};
}

}  // namespace vramwise
