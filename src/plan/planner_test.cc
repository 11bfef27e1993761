#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plan/candidate.h"
#include "plan/plan.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

Card gpu(std::int64_t gib, double speed = 1.0) {
  return {.name = "Test GPU",
          .device = "cuda:0",
          .shown_total = Bytes::gib(gib),
          .budget = Bytes::gib(gib),
          .relative_speed = speed,
          .target = {.backend = Backend::kCuda, .context = Bytes::mib(400), .workspaces = Bytes::mib(16)}};
}

PlanRequest request_for(const std::string& size, std::vector<Card> cards, const std::string& vram = "") {
  PlanRequest request;
  request.model = model_preset(size).value();
  request.model_name = size;
  request.cards = std::move(cards);
  if (!vram.empty()) request.target = parse_vram(vram).value();
  return request;
}

Bytes used(const Plan& plan, std::size_t card = 0) { return plan.cards[card].ledger.device; }

TEST(Planner, KeepsTheRowWhereItFits) {
  const Plan plan = make_plan(request_for("medium", {gpu(16)})).value();
  EXPECT_EQ(plan.step.micro_batch, 2);
  EXPECT_EQ(plan.step.seq_len, 512);
  EXPECT_EQ(plan.step.gradient_accumulation_steps, 8);
  EXPECT_EQ(plan.step.checkpointed_blocks, 12);
  EXPECT_EQ(plan.step.precision, Precision::kBf16);
  EXPECT_EQ(plan.effective_batch_size(), 16);
  EXPECT_TRUE(plan.decisions.empty());
  EXPECT_EQ(plan.cards[0].usable, Bytes::gib(15));
  EXPECT_EQ(plan.description, "Auto-optimized for 16.0GB VRAM");
}

TEST(Planner, SixteenBitMeansFp16BeforeAmpereAndFp32OnTheHost) {
  Card turing = gpu(16);
  turing.has_bf16 = false;
  EXPECT_EQ(make_plan(request_for("medium", {turing})).value().step.precision, Precision::kFp16);
  Card host = gpu(16);
  host.backend = host.target.backend = Backend::kCpu;
  EXPECT_EQ(make_plan(request_for("medium", {host})).value().step.precision, Precision::kFp32);
}

TEST(Planner, ShrinksInTheStatedOrderUntilItFits) {
  PlanRequest request = request_for("large", {gpu(24)});
  const Plan roomy = make_plan(request).value();
  // Walk the margin up: at every step the plan must fit, keep the effective batch, and never cut the sequence before
  // everything else is used.
  int changes_seen = 0;
  for (std::int64_t margin_mib = 1024; margin_mib < 24 * 1024; margin_mib += 64) {
    request.safety_margin = Bytes::mib(margin_mib);
    const auto result = make_plan(request);
    if (!result.ok()) {
      EXPECT_EQ(result.error().code, ErrorCode::kDoesNotFit);
      EXPECT_THAT(result.error().what, HasSubstr("does not fit"));
      continue;
    }
    const Plan& plan = *result;
    EXPECT_LE(used(plan), plan.cards[0].usable) << margin_mib;
    EXPECT_EQ(plan.effective_batch_size(), roomy.effective_batch_size());
    if (plan.step.seq_len < roomy.step.seq_len) {
      EXPECT_EQ(plan.step.micro_batch, 1);
      EXPECT_EQ(plan.step.checkpointed_blocks, request.model.n_layers);
      EXPECT_TRUE(plan.step.offload_optimizer);
      ASSERT_FALSE(plan.notes.empty());
      EXPECT_THAT(plan.notes.back(), HasSubstr("ATTENTION"));
    }
    if (plan.step.offload_optimizer) {
      EXPECT_EQ(plan.step.checkpointed_blocks, request.model.n_layers);
    }
    if (plan.step.checkpointed_blocks > 0) {
      EXPECT_EQ(plan.step.micro_batch, 1);
    }
    changes_seen = std::max(changes_seen, static_cast<int>(plan.decisions.size()));
  }
  EXPECT_EQ(changes_seen, 4) << "the walk must have met every pass";
}

TEST(Planner, AFixedKnobStaysFixed) {
  PlanRequest request = request_for("large", {gpu(6)});
  request.overrides.micro_batch = 4;
  request.overrides.seq_len = 1024;
  request.overrides.offload_optimizer = false;
  const auto result = make_plan(request);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(result.error().what, HasSubstr("batch_size 4"));
}

TEST(Planner, AFixedEffectiveBatchIsKeptOnEveryCardAndMemory) {
  for (const std::int64_t sequences : {1, 7, 16, 23}) {
    for (const std::vector<Card>& cards :
         {std::vector{gpu(12)}, {gpu(24)}, {gpu(80)}, {gpu(24, 2.0), gpu(16), gpu(16)}}) {
      PlanRequest request = request_for("large", cards);
      request.overrides.effective_batch = sequences;
      request.overrides.seq_len = 512;
      const Plan plan = make_plan(request).value();
      EXPECT_EQ(plan.effective_batch_size(), sequences);
      std::int64_t together = 0;
      for (const CardPlan& card : plan.cards) together += card.micro_batch;
      // As many accumulation steps as needed, and none more.
      EXPECT_GE(together * plan.step.gradient_accumulation_steps, sequences);
      EXPECT_LT(together * (plan.step.gradient_accumulation_steps - 1), sequences);
      EXPECT_EQ(plan.step.seq_len, 512);
    }
  }
  PlanRequest request = request_for("medium", {gpu(24)});
  request.overrides.effective_batch = 16;
  request.overrides.gradient_accumulation_steps = 5;
  EXPECT_EQ(make_plan(request).value().step.micro_batch, 4);
  request.overrides.gradient_accumulation_steps = std::nullopt;
  request.overrides.micro_batch = 5;
  EXPECT_EQ(make_plan(request).value().step.gradient_accumulation_steps, 4);
}

TEST(Planner, StatesAreOffloadedOnlyWhereThereIsRoomForThem) {
  PlanRequest request = request_for("large", {gpu(24)});
  request.overrides.seq_len = 1024;
  // The largest margin with which it fits without offload, and a little more.
  const auto plan_with = [&](std::int64_t margin_mib) {
    request.safety_margin = Bytes::mib(margin_mib);
    return make_plan(request);
  };
  std::int64_t margin = 1024;
  while (!plan_with(margin)->step.offload_optimizer) margin += 256;
  const Bytes taken = plan_with(margin)->cards[0].ledger.offloaded;
  request.offload_tier = OffloadTier{"host memory", taken};
  EXPECT_TRUE(plan_with(margin)->step.offload_optimizer);
  request.offload_tier->room = taken - Bytes(1);
  const auto refused = plan_with(margin);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(refused.error().what, HasSubstr("cannot leave the device"));
  request.overrides.offload_optimizer = true;
  const auto asked = plan_with(margin);
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(asked.error().what, HasSubstr("host memory has room for"));
}

TEST(Planner, APresetStandsAsItIsOrIsRefused) {
  EXPECT_EQ(make_plan(request_for("medium", {gpu(16)}, "16gb")).value().description, "Preset for 16GB VRAM");
  PlanRequest request = request_for("large", {gpu(24)}, "24gb");
  request.safety_margin = Bytes::gib(18);
  const auto result = make_plan(request);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(result.error().remedy, HasSubstr("--vram 24"));
}

TEST(Planner, AMarginThatLeavesNothingIsAUsageError) {
  PlanRequest request = request_for("tiny", {gpu(8)}, "0.5");
  const auto result = make_plan(request);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kUsage);
  EXPECT_THAT(result.error().what, HasSubstr("leaves nothing"));
}

TEST(Planner, TwoEqualCardsAreNotOneLargeCard) {
  const Plan plan = make_plan(request_for("large", {gpu(24), gpu(24)}, "48")).value();
  ASSERT_EQ(plan.cards.size(), 2u);
  EXPECT_EQ(plan.cards[0].target, Bytes::gib(24));
  EXPECT_EQ(plan.step.seq_len, 1024) << "the row of 24 GB, not of 48";
  EXPECT_EQ(plan.cards[0].micro_batch, plan.cards[1].micro_batch);
  EXPECT_EQ(plan.effective_batch_size(), 2 * plan.step.micro_batch * plan.step.gradient_accumulation_steps);
}

TEST(Planner, UnequalCardsGetMicroBatchesInProportionToSpeedWithinTheirMemory) {
  const Plan plan = make_plan(request_for("large", {gpu(24, 2.0), gpu(10, 1.0)}, "34")).value();
  EXPECT_EQ(plan.cards[0].target, Bytes::gib(24));
  EXPECT_EQ(plan.cards[1].target, Bytes::gib(10));
  EXPECT_GE(plan.cards[0].micro_batch, plan.cards[1].micro_batch);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_LE(used(plan, i), plan.cards[i].usable) << i;
}

TEST(Planner, OnlyOneCardHoldsOptimizerStates) {
  for (const bool offload : {false, true}) {
    PlanRequest request = request_for("large", {gpu(24), gpu(24)});
    request.overrides.offload_optimizer = offload;
    const Plan plan = make_plan(request).value();
    const Ledger& first = plan.cards[0].ledger;
    const Ledger& second = plan.cards[1].ledger;
    EXPECT_GE(first.at_peak.optimizer_states + first.offloaded, Bytes(12) * parameter_count(request.model));
    EXPECT_EQ(second.at_peak.optimizer_states, Bytes());
    EXPECT_EQ(second.offloaded, Bytes());
    EXPECT_EQ(first.allocated - second.allocated, first.at_peak.optimizer_states);
  }
}

// A card with less memory, which could not hold the states, is no reason to shrink the batch, wherever it stands.
TEST(Planner, ASmallerCardNeedsRoomForItsOwnPartOnly) {
  PlanRequest request = request_for("large", {gpu(24)});
  const Plan alone = make_plan(request).value();
  const Bytes without_states = used(alone) - alone.cards[0].ledger.at_peak.optimizer_states;
  Card small = gpu(24);
  small.budget = without_states + request.safety_margin + Bytes::mib(1);
  for (const std::size_t place : {0, 1}) {
    request.cards = {gpu(24), gpu(24)};
    request.cards[place] = small;
    const Plan both = make_plan(request).value();
    EXPECT_LT(both.cards[place].usable, used(alone));
    EXPECT_EQ(both.optimizer_card(), 1 - place);
    EXPECT_TRUE(both.decisions.empty());
    EXPECT_EQ(both.cards[place].micro_batch, alone.step.micro_batch);
  }
}

TEST(Planner, RoomIsTheLargestMicroBatchThatFits) {
  const Plan plan = make_plan(request_for("medium", {gpu(16)})).value();
  const std::int64_t largest = largest_micro_batch_that_fits(plan);
  EXPECT_GT(largest, plan.step.micro_batch);
  Candidate candidate{.step = plan.step, .micro_batches = {largest}};
  EXPECT_TRUE(fits(plan.request.model, candidate, plan.cards));
  candidate.micro_batches = {largest + 1};
  EXPECT_FALSE(fits(plan.request.model, candidate, plan.cards));
}

}  // namespace
}  // namespace vramwise
