#include "report/plan_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "plan/catalogue_card.h"
#include "plan/training/search.h"
#include "report/explain_text.h"
#include "report/plan_json.h"
#include "report/training_plan_json.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

Json own_plan() {
  PlanRequest request;
  request.model = model_preset("small").value();
  request.model_name = "small";
  request.origin = CardOrigin::kChosen;
  request.strategy = Strategy::kFastest;
  for (const char* id : {"rtx-3090", "rtx-3080-10gb"})
    request.cards.push_back(catalogue_card(*find_gpu(id), request.cards.size()));
  return plan_json(make_plan(request).value());
}

/// With a row in every list.
Json training_plan() {
  const char* config =
      R"({"model_type": "llama", "vocab_size": 4000, "hidden_size": 512, "num_hidden_layers": 2,
          "num_attention_heads": 8, "intermediate_size": 1408, "max_position_embeddings": 4096})";
  TrainingRequest request;
  request.model = parse_model_config(config, "test").value();
  TrainingPlan plan;
  plan.best.device = plan.best.estimate.device = Bytes::gib(4);
  plan.decisions.push_back({.knob = "loss", .value = "chunked"});
  plan.runner_ups.push_back(plan.best);
  plan.notes.emplace_back("a note");
  Json json = training_plan_json({.request = request, .card = "NVIDIA GeForce RTX 3090"}, plan);
  json["verified"] = {{"verdict", "fits"},
                      {"cards", {{{"index", 0}, {"measured_bytes", std::int64_t{1} << 32}, {"predicted_bytes", 1}}}}};
  return json;
}

std::string what_of(const Json& plan) {
  const Result<std::string> text = explain_text(plan, {});
  if (text.ok()) return "";
  EXPECT_EQ(text.error().code, ErrorCode::kWorld) << text.error().what;
  return text.error().what;
}

TEST(PlanShape, WholePlansAreTold) {
  EXPECT_EQ(what_of(own_plan()), "");
  EXPECT_EQ(what_of(training_plan()), "");
}

struct Damage {
  const char* path;
  Json value;  ///< null: the key is taken out
  const char* said;
};

void expect_told(Json plan, const Damage& damage) {
  const Json::json_pointer path(damage.path);
  if (damage.value.is_null()) {
    plan.at(path.parent_pointer()).erase(path.back());
  } else {
    plan.at(path) = damage.value;
  }
  EXPECT_THAT(what_of(plan), HasSubstr(damage.said)) << damage.path;
}

TEST(PlanShape, ADamagedPlanIsToldByItsFirstWrongKey) {
  const Json plan = own_plan();
  const Damage damages[] = {
      {"/strategy", {}, "\"strategy\" is missing"},
      {"/cards/1/micro_batch", "three", "\"cards[1].micro_batch\" is not a whole number from 0 to 2^53"},
      {"/cards/0/peak/device_bytes", -1, "\"cards[0].peak.device_bytes\" is not a whole number from 0"},
      {"/cards/0/usable_bytes", 18446744073709551615ULL, "\"cards[0].usable_bytes\" is not"},
      {"/cards", Json::array(), "\"cards\" is empty"},
      {"/cards", {{"0", 1}}, "\"cards\" is not a list of objects"},
      {"/model", Json::array(), "\"model\" is not an object"},
      {"/time/tokens_per_s", 1e300, "\"time.tokens_per_s\" is not a number from 0 to 2^53"},
      {"/configuration/max_seq_len", 0.5, "\"configuration.max_seq_len\" is not a whole number"},
      {"/notes", {1}, "\"notes\" is not a list of texts"},
      {"/fits", {}, "\"fits\" is missing"},
      {"/fits", false, "why there is no plan"},
  };
  for (const Damage& damage : damages) expect_told(plan, damage);
}

TEST(PlanShape, ADamagedPlanForAnotherTrainerIsTold) {
  const Json plan = training_plan();
  const Damage damages[] = {
      {"/device_bytes", -5, "\"device_bytes\" is not a whole number from 0"},
      {"/documents", {}, "\"documents\" is missing"},
      {"/decisions/0/slowdown", "a lot", "\"decisions[0].slowdown\" is not a number of at most 2^53"},
      {"/runner_ups/0/configuration/summary", 3, "\"runner_ups[0].configuration.summary\" is not a text"},
      {"/verified/cards/0/measured_bytes", true, "\"verified.cards[0].measured_bytes\" is not"},
      {"/speed_is_known", "true", "\"speed_is_known\" is not true or false"},
  };
  for (const Damage& damage : damages) expect_told(plan, damage);
}

/// Every value of a plan, one after the other, as something else: an answer or an Error, never an exception.
TEST(PlanShape, NoWrongTypeGetsThrough) {
  const Json others[] = {nullptr, -5, "x", 1e300, true, Json::object(), Json::array({nullptr})};
  for (const Json& plan : {own_plan(), training_plan()}) {
    const Json leaves = plan.flatten();
    for (const auto& [path, value] : leaves.items()) {
      for (Json::json_pointer part(path); !part.empty(); part.pop_back()) {
        for (const Json& other : others) {
          Json changed = plan;
          changed.at(part) = other;
          EXPECT_NO_THROW(static_cast<void>(explain_text(changed, {}))) << part.to_string() << " = " << other;
        }
      }
    }
  }
}

TEST(PlanShape, WhatIsNoPlanOfThisVersionIsAMistakeOfTheCommandLine) {
  EXPECT_EQ(check_plan_shape(Json{{"schema", "other"}}).error().code, ErrorCode::kUsage);
  Json plan = own_plan();
  plan["schema_version"] = kPlanSchemaVersion + 1;
  EXPECT_EQ(check_plan_shape(plan).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace vramwise
