#include "report/saved_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "plan/catalogue_card.h"
#include "report/explain_text.h"
#include "report/plan_json.h"
#include "report/plan_text.h"
#include "report/risk.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

PlanRequest request_for(const std::vector<std::string>& cards, Strategy strategy = Strategy::kFastest) {
  PlanRequest request;
  request.model = model_preset("large").value();
  request.model_name = "large";
  request.origin = CardOrigin::kChosen;
  request.strategy = strategy;
  for (const std::string& id : cards) request.cards.push_back(catalogue_card(*find_gpu(id), request.cards.size()));
  return request;
}

TEST(SavedPlan, IsCarriedOutAsItWasSaved) {
  const Plan plan = make_plan(request_for({"rtx-3090", "rtx-3080-10gb"})).value();
  const Json json = parse_json(plan_json(plan).dump(), "plan").value();
  PlanRequest again = request_for({"rtx-3090", "rtx-3080-10gb"});
  ASSERT_TRUE(apply(saved_plan_from_json(json).value(), again).ok());
  const Plan same = make_plan(again).value();
  EXPECT_EQ(same.step, plan.step);
  EXPECT_EQ(same.effective_batch_size(), plan.effective_batch_size());
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(same.cards[i].micro_batch, plan.cards[i].micro_batch);
    EXPECT_EQ(same.cards[i].sequences, plan.cards[i].sequences);
    EXPECT_EQ(same.cards[i].knobs, plan.cards[i].knobs);
    EXPECT_EQ(same.cards[i].ledger.device, plan.cards[i].ledger.device);
  }
  EXPECT_DOUBLE_EQ(same.step_seconds, plan.step_seconds);
}

TEST(SavedPlan, OfAnotherMachineOrSchemaIsRefused) {
  const Json json = plan_json(make_plan(request_for({"rtx-3090"})).value());
  PlanRequest two = request_for({"rtx-3090", "rtx-3090"});
  EXPECT_THAT(apply(saved_plan_from_json(json).value(), two).error().what, HasSubstr("1 cards, and here are 2"));
  EXPECT_FALSE(saved_plan_from_json(Json{{"schema", "other"}}).ok());
  Json broken = json;
  broken["configuration"].erase("precision");
  EXPECT_THAT(saved_plan_from_json(broken).error().what, HasSubstr("precision"));
  broken = json;
  broken["configuration"]["max_seq_len"] = 0;
  EXPECT_FALSE(saved_plan_from_json(broken).ok());
}

TEST(SavedPlan, IsExplained) {
  const Plan plan = make_plan(request_for({"rtx-3060-12gb"})).value();
  const std::string text = explain_text(plan_json(plan), {}).value();
  EXPECT_THAT(text, HasSubstr("strategy fastest"));
  EXPECT_THAT(text, HasSubstr("precision"));
  EXPECT_THAT(text, HasSubstr("Predicted peak"));
  EXPECT_FALSE(explain_text(Json{{"schema", "other"}}, {}).ok());
}

TEST(PlanText, OfASearchHasItsTables) {
  const Plan plan = make_plan(request_for({"rtx-3090", "rtx-3080-10gb"})).value();
  const std::string text = plan_text(plan);
  for (const char* part : {"Predicted speed: ", "Shares of the cards", "Why (each knob", "Runner-ups"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("\033")));
  EXPECT_THAT(plan_text(plan, {.colour = true}), HasSubstr("\033[1m"));
}

TEST(PlanText, OfTheGuideHasTheLineOfFastest) {
  Plan plan = make_plan(request_for({"rtx-3090"}, Strategy::kGuide)).value();
  plan.gain = gain_of_fastest(plan);
  EXPECT_THAT(plan_text(plan), HasSubstr("\n--strategy fastest: "));
  EXPECT_EQ(report_block(plan), report_block(make_plan(plan.request).value()));
}

TEST(Risk, IsAnIntervalOnlyWhereRunsWereMeasured) {
  const Risk cpu = memory_risk(Backend::kCpu);
  EXPECT_EQ(cpu.runs, 21);
  EXPECT_GT(*cpu.low, 1.0);
  EXPECT_LT(*cpu.high, 1.02);
  EXPECT_NEAR(cpu.coverage(), 20.0 / 22, 1e-12);
  EXPECT_FALSE(memory_risk(Backend::kCuda).low.has_value());
  const Plan plan = make_plan(request_for({"rtx-3090"})).value();
  EXPECT_THAT(plan_text(plan), HasSubstr("0 runs of this trainer were measured on a GPU, too few"));
}

TEST(Table, AlignsItsColumns) {
  Table table({"name", "memory", "<note"});
  table.add({"a", "12", "x"});
  table.add({"long", "1", ""});
  EXPECT_EQ(table.text({}), "  name  memory  note\n  a         12  x\n  long       1\n");
}

}  // namespace
}  // namespace vramwise
