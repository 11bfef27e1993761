// The search against brute force over the full replay, and what must hold of every answer.
#include "plan/search/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cost/decoder_step.h"
#include "gpus/catalogue.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

Card card_with(Bytes memory, const char* like = "rtx-3090") {
  return {.name = like,
          .device = "cuda:0",
          .shown_total = memory,
          .budget = memory,
          .target = {.backend = Backend::kCuda, .context = Bytes::mib(300), .workspaces = Bytes::mib(16)},
          .rates = device_rates(*find_gpu(like))};
}

PlanRequest request_for(const std::string& size, std::vector<Card> cards, Strategy strategy = Strategy::kFastest) {
  PlanRequest request;
  request.model = model_preset(size).value();
  request.model_name = size;
  request.cards = std::move(cards);
  request.strategy = strategy;
  return request;
}

class Random {
 public:
  Random() : seed(std::random_device()()), engine_(seed) {}
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }
  const unsigned seed;

 private:
  std::mt19937 engine_;
};

DecoderConfig tiny_model(Random& random) {
  DecoderConfig config{.vocab_size = random.pick(50, 4000), .hidden_size = 64 * random.pick(1, 4)};
  config.n_layers = random.pick(1, 3);
  config.n_kv_heads = random.pick(1, 2);
  config.n_heads = config.n_kv_heads * random.pick(1, 2);
  config.head_dim = 32;
  config.intermediate_size = 128 * random.pick(1, 4);
  return config;
}

/// Tries every micro-batch, number of recomputed blocks and loss chunk of every card and every split; the fastest
/// seconds that fit, or nothing.
std::optional<double> brute_force(const Plan& plan, const SearchSpace& space) {
  const std::vector<CardPlan>& cards = plan.cards;
  const std::int64_t all = space.sequences;
  std::optional<double> best;
  for (const StepSettings& shared : space.shared) {
    const auto one_with = [&](std::size_t i, std::int64_t share, const StepSettings& step) -> std::optional<double> {
      const DecoderPass pass(plan.request.model, step, cards[i].card.backend, cards[i].card.rates);
      std::optional<double> least;
      // A card without a sequence still holds the model.
      for (std::int64_t micro_batch = 1; micro_batch <= std::max<std::int64_t>(1, share); ++micro_batch) {
        const ReplicaWork work{.sequences = share, .passes = (share + micro_batch - 1) / micro_batch};
        StepSettings asked = step;
        asked.micro_batch = micro_batch_of(work);
        Target target = cards[i].card.target;
        target.holds_optimizer = cards[i].holds_optimizer;
        target.has_peers = cards.size() > 1;
        target.sequences = share;
        if (estimate_step(plan.request.model, asked, target).device > cards[i].usable) continue;
        const double seconds = seconds_of(pass, work);
        if (!least || seconds < *least) least = seconds;
      }
      return least;
    };
    const auto one = [&](std::size_t i, std::int64_t share) -> std::optional<double> {
      std::optional<double> least;
      for (const std::int64_t blocks : space.blocks) {
        for (const std::int64_t chunk : space.chunks) {
          const std::optional<double> seconds =
              one_with(i, share, with_knobs(shared, {.checkpointed_blocks = blocks, .loss_chunk_tokens = chunk}));
          if (seconds && (!least || *seconds < *least)) least = seconds;
        }
      }
      return least;
    };
    std::vector<DeviceRates> others;
    DeviceRates holder;
    for (const CardPlan& card : cards) (card.holds_optimizer ? holder : others.emplace_back()) = card.card.rates;
    const double update = update_seconds(plan.request.model, shared, holder, others);
    for (std::int64_t first = cards.size() == 1 ? all : 0; first <= all; ++first) {
      const std::optional<double> a = one(0, first);
      const std::optional<double> b = cards.size() == 1 ? std::optional<double>(0.0) : one(1, all - first);
      if (!a || !b) continue;
      const double seconds = std::max(*a, *b) + update;
      if (!best || seconds < *best) best = seconds;
    }
  }
  return best;
}

void compare_with_brute_force(std::size_t card_count, int cases) {
  Random random;
  int fitting = 0;
  for (int i = 0; i < cases; ++i) {
    std::vector<Card> cards;
    for (std::size_t c = 0; c < card_count; ++c) {
      const Bytes memory = Bytes::mib(i == 0 ? 100 : random.pick(330, 500));  // once too little for anything
      cards.push_back(card_with(memory, random.pick(0, 1) == 0 ? "rtx-3090" : "rtx-3060-12gb"));
    }
    PlanRequest request = request_for("tiny", cards);
    request.model = tiny_model(random);
    request.safety_margin = Bytes::mib(8);
    request.overrides.seq_len = 64 * random.pick(1, 8);
    request.overrides.effective_batch = random.pick(1, 7);
    if (random.pick(0, 1) == 0) request.overrides.loss_chunk_tokens = 512;
    const Result<Plan> plan = make_plan(request);
    // The space that the search saw, from the same start.
    PlanRequest plain = request;
    plain.strategy = Strategy::kGuide;
    plain.cards.front().budget = plain.cards.back().budget = Bytes::gib(24);
    const Plan roomy = make_plan(plain).value();
    Plan seen = roomy;
    seen.request = request;
    for (std::size_t c = 0; c < card_count; ++c) {
      seen.cards[c].card = cards[c];
      seen.cards[c].usable = cards[c].budget - request.safety_margin;
      seen.cards[c].holds_optimizer = false;
    }
    (card_count == 2 && seen.cards[1].usable > seen.cards[0].usable ? seen.cards[1] : seen.cards[0]).holds_optimizer =
        true;
    Candidate start{.step = roomy.step, .micro_batches = std::vector<std::int64_t>(card_count, 1)};
    start.step.precision = Precision::kBf16;
    const SearchSpace space = make_space(request, seen.cards, start);
    ASSERT_EQ(space.sequences, *request.overrides.effective_batch);
    const std::optional<double> best = brute_force(seen, space);
    ASSERT_EQ(plan.ok(), best.has_value()) << "seed " << random.seed << ", case " << i;
    if (!best) continue;
    ++fitting;
    ASSERT_NEAR(plan->step_seconds, *best, *best * 1e-9) << "seed " << random.seed << ", case " << i;
  }
  EXPECT_GT(fitting, cases / 10) << "seed " << random.seed;
  EXPECT_LT(fitting, cases) << "seed " << random.seed;
}

TEST(Search, EqualsBruteForceOnOneCard) { compare_with_brute_force(1, 60); }
TEST(Search, EqualsBruteForceOnTwoCards) { compare_with_brute_force(2, 25); }

TEST(Search, PassCountsAreThoseOfAllMicroBatches) {
  EXPECT_THAT(pass_counts(1), ::testing::ElementsAre(1));
  EXPECT_THAT(pass_counts(7), ::testing::ElementsAre(1, 2, 3, 4, 7));
  EXPECT_THAT(pass_counts(16), ::testing::ElementsAre(1, 2, 3, 4, 6, 8, 16));
}

TEST(Search, KeepsBatchLengthAndPrecision) {
  const Plan guide = make_plan(request_for("large", {card_with(Bytes::gib(24))}, Strategy::kGuide)).value();
  const Plan fastest = make_plan(request_for("large", {card_with(Bytes::gib(24))})).value();
  EXPECT_EQ(fastest.effective_batch_size(), guide.effective_batch_size());
  EXPECT_EQ(fastest.step.seq_len, guide.step.seq_len);
  EXPECT_EQ(fastest.step.precision, guide.step.precision);
  EXPECT_LE(fastest.step_seconds, guide.step_seconds);
  EXPECT_LE(fastest.cards[0].ledger.device, fastest.cards[0].usable);
}

TEST(Search, WhatTheUserFixedStays) {
  PlanRequest request = request_for("medium", {card_with(Bytes::gib(8))});
  request.overrides.micro_batch = 2;
  request.overrides.checkpointed_blocks = 3;
  request.overrides.loss_chunk_tokens = 700;
  const Plan plan = make_plan(request).value();
  EXPECT_EQ(plan.step.micro_batch, 2);
  EXPECT_EQ(plan.step.checkpointed_blocks, 3);
  EXPECT_EQ(plan.step.loss_chunk_tokens, 700);
  request.overrides.micro_batch.reset();
  request.overrides.gradient_accumulation_steps = 4;
  EXPECT_EQ(make_plan(request).value().step.gradient_accumulation_steps, 4);
}

TEST(Search, TheSafestLeavesMoreAndIsNotMuchSlower) {
  const Plan fastest = make_plan(request_for("medium", {card_with(Bytes::gib(24))})).value();
  const Plan safest = make_plan(request_for("medium", {card_with(Bytes::gib(24))}, Strategy::kSafest)).value();
  EXPECT_LT(safest.cards[0].ledger.device, fastest.cards[0].ledger.device);
  EXPECT_LE(safest.step_seconds, fastest.step_seconds / 0.9 * (1 + 1e-9));
}

TEST(Search, ALongSequenceIsCutOnlyWhereThatIsAllowed) {
  PlanRequest request = request_for("large", {card_with(Bytes::gib(4))});
  request.safety_margin = Bytes::mib(256);
  request.overrides.offload_optimizer = true;
  request.model.n_layers = 40;
  const Result<Plan> whole = make_plan(request);
  const std::int64_t wanted = whole.ok() ? whole->step.seq_len : 256;
  request.overrides.seq_len = 200'000;
  const Result<Plan> fixed = make_plan(request);
  ASSERT_FALSE(fixed.ok());
  EXPECT_THAT(fixed.error().what, HasSubstr("does not fit with any of"));
  EXPECT_GT(wanted, 0);
}

TEST(Search, UnequalCardsShareBySpeedAndFillTheirOwnMemory) {
  PlanRequest request = request_for("large", {card_with(Bytes::gib(24)), card_with(Bytes::gib(10), "rtx-3080-10gb")});
  request.overrides.effective_batch = 512;
  request.overrides.seq_len = 1024;
  const Plan plan = make_plan(request).value();
  const CardPlan &first = plan.cards[0], &second = plan.cards[1];
  EXPECT_EQ(first.sequences + second.sequences, 512);
  for (const CardPlan& card : plan.cards) {
    EXPECT_LE(card.ledger.device, card.usable);
    EXPECT_GT(card.ledger.device.in_mib() / card.usable.in_mib(), 0.9);
  }
  // Both are busy for as long, whatever their memory.
  const auto busy = [&](const CardPlan& card) {
    const DecoderPass pass(request.model, with_knobs(plan.step, card.knobs), card.card.backend, card.card.rates);
    return seconds_of(
        pass, {.sequences = card.sequences, .passes = (card.sequences + card.micro_batch - 1) / card.micro_batch});
  };
  EXPECT_NEAR(busy(first) / busy(second), 1, 0.02);
  EXPECT_GT(first.micro_batch, second.micro_batch);
}

TEST(Search, OnlyTheCardThatIsShortOfMemoryRecomputes) {
  PlanRequest request = request_for("large", {card_with(Bytes::gib(24)), card_with(Bytes::gib(4), "rtx-3080-10gb")});
  request.overrides.effective_batch = 32;
  request.overrides.seq_len = 2048;
  const Plan plan = make_plan(request).value();
  EXPECT_LT(plan.cards[0].knobs.checkpointed_blocks, plan.cards[1].knobs.checkpointed_blocks);
  EXPECT_LE(plan.cards[1].ledger.device, plan.cards[1].usable);
  // With the same on both, by flag, the step takes longer.
  request.overrides.checkpointed_blocks = plan.cards[1].knobs.checkpointed_blocks;
  EXPECT_GT(make_plan(request).value().step_seconds, plan.step_seconds);
}

TEST(Search, TwoCardsAreNeverOneOfTheirSum) {
  // A model whose weights, gradients and states need more than one card of 24 GB, and less than 48.
  PlanRequest request = request_for("large", {card_with(Bytes::gib(24)), card_with(Bytes::gib(24))});
  request.model.n_layers = 120;
  request.overrides.offload_optimizer = false;
  request.overrides.seq_len = 256;
  EXPECT_FALSE(make_plan(request).ok());
  request.cards = {card_with(Bytes::gib(48))};
  EXPECT_TRUE(make_plan(request).ok());
}

TEST(Search, RunnerUpsAreSlowerAndSmaller) {
  const Plan plan = make_plan(request_for("large", {card_with(Bytes::gib(24))})).value();
  ASSERT_FALSE(plan.runner_ups.empty());
  Bytes device = plan.cards[0].ledger.device;
  double speed = plan.tokens_per_s();
  for (const RunnerUp& row : plan.runner_ups) {
    EXPECT_LT(row.device, device);
    EXPECT_LE(row.tokens_per_s, speed);
    device = row.device;
    speed = row.tokens_per_s;
  }
}

TEST(Search, EachDecisionSaysWhatItSavesAndCosts) {
  PlanRequest request = request_for("large", {card_with(Bytes::gib(8))});
  request.overrides.seq_len = 2048;
  const Plan plan = make_plan(request).value();
  ASSERT_FALSE(plan.decisions.empty());
  for (const Decision& decision : plan.decisions) {
    EXPECT_TRUE(decision.saved.has_value() && decision.slowdown.has_value()) << decision.knob;
    EXPECT_THAT(decision.reason, HasSubstr("% of the step"));
  }
}

TEST(Search, TheGuideSaysWhatFastestWouldGain) {
  const Plan plan = make_plan(request_for("medium", {card_with(Bytes::gib(16))}, Strategy::kGuide)).value();
  EXPECT_THAT(gain_of_fastest(plan), HasSubstr("times as fast: batch_size"));
}

}  // namespace
}  // namespace vramwise
