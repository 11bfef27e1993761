#include "plan/training/search.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "plan/training/alternatives.h"
#include "plan/training/judge.h"
#include "plan/training/test_support.h"
#include "plan/training/words.h"

namespace vramwise {
namespace {

Bytes smallest_device(const TrainingRequest& request) {
  const TrainingPlan roomy = plan_training(request).value();
  return roomy.runner_ups.empty() ? roomy.best.device : roomy.runner_ups.back().device;
}

/// Not enough for any candidate, and not much less than enough.
Bytes too_little(TrainingRequest request) {
  request.only_best = true;
  for (Result<TrainingPlan> plan = plan_training(request); plan.ok(); plan = plan_training(request))
    request.usable = Bytes(plan->best.device.count() * 85 / 100);
  return request.usable;
}

/// A candidate of ZeRO-3 is refused already for what two passes of its step take.
bool is_not_refused(const TrainingRequest& request, TrainingConfiguration c) {
  if (c.settings.parallel.kind != Parallel::kDeepSpeed || c.settings.parallel.deepspeed.stage < 3) return true;
  std::int64_t& passes = c.settings.gradient_accumulation_steps;
  passes = std::min<std::int64_t>(passes, 2);
  return estimate_training(request.model, c.settings, request.card, c.allocator).value().device <= request.usable;
}

/// Every candidate by the replay of all of its passes.
std::optional<TrainingChoice> by_brute_force(const TrainingRequest& request) {
  const TrainingSpace space = training_space(request).value();
  TrainingJudge judge(request, space);
  std::optional<TrainingChoice> best;
  for (std::size_t option = 0; option < space.options.size(); ++option) {
    if (!judge.is_possible(option)) continue;
    for (const std::int64_t micro_batch : space.micro_batches) {
      for (const int recomputed : space.recomputed) {
        const TrainingCandidate candidate{.option = option, .micro_batch = micro_batch, .recomputed = recomputed};
        const TrainingConfiguration c = judge.configuration(candidate);
        const TrainingEstimate whole = estimate_training(request.model, c.settings, request.card, c.allocator).value();
        EXPECT_LE(judge.least_device_bytes(candidate), static_cast<double>(whole.device.count()));
        if (whole.device > request.usable) continue;
        TrainingChoice choice = judge.choice(candidate, whole.device);
        if ((!best || choice.seconds < best->seconds) && is_not_refused(request, c)) best = choice;
      }
    }
  }
  return best;
}

std::string summary(const TrainingJudge& judge, const TrainingCandidate& candidate) {
  const TrainingConfiguration configuration = judge.configuration(candidate);
  std::string text = fmt::format("{} at a time, {} recomputed", candidate.micro_batch, candidate.recomputed);
  for (const Knob& knob : training_knobs())
    if (const KnobValue* value = value_of(knob, configuration)) text += fmt::format(", {} {}", knob.name, value->name);
  return text;
}

class Draw {
 public:
  Draw() : seed_(std::random_device{}()), random_(seed_) {}
  int number(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  /// A trainer with cards of its own, a length, and memory somewhere between what is least and most.
  TrainingRequest request() {
    constexpr Trainer kTrainers[] = {Trainer::kTransformers, Trainer::kAccelerate, Trainer::kFsdp2,
                                     Trainer::kDeepSpeed};
    const Trainer trainer = kTrainers[number(0, 3)];
    TrainingRequest request = request_for(Bytes::gib(80), trainer, trainer == Trainer::kFsdp2 ? 4 : number(1, 2));
    request.sequences = std::int64_t{number(0, 1) == 0 ? 4 : 6} * request.cards;
    take_model(request, llama(number(3, 4)));
    if (number(0, 3) == 0) request.shorter.clear();
    request.start.settings.seq_len = std::int64_t{64} * number(2, 16);
    request.fixed = {"attention"};
    if (number(0, 1) == 0) request.fixed.emplace_back("loss");
    if (number(0, 1) == 0) request.allowed = {"8bit_adam"};
    if (trainer == Trainer::kDeepSpeed)  // which has the more layouts
      request.fixed.insert(request.fixed.end(), {"optimizer", "recomputed", "segments"});
    squeeze(request);
    return request;
  }
  /// ZeRO-1 to -3 on two cards.
  TrainingRequest zero() {
    TrainingRequest request = request_for(Bytes::gib(80), Trainer::kDeepSpeed, 2);
    request.sequences = std::int64_t{2} * number(2, 4);
    request.start.settings.seq_len = std::int64_t{64} * number(2, 16);
    request.start.settings.parallel.deepspeed.reduce_bucket_size = number(0, 1) == 0 ? 5'000'000 : 50'000'000;
    request.fixed = {"attention", "optimizer", "segments", "bucket"};
    if (number(0, 1) == 0) request.shorter.clear();
    squeeze(request);
    return request;
  }
  std::string text(const TrainingRequest& request) const {
    return fmt::format("seed {}: {}, {} cards, {} tokens, {} usable", seed_, trainer_name(request.trainer),
                       request.cards, request.start.settings.seq_len, request.usable.count());
  }

 private:
  void squeeze(TrainingRequest& request) {
    const Bytes most = plan_training(request)->best.device, least = smallest_device(request);
    request.usable = least + (most - least) * number(0, 100) / 100;
  }

  unsigned seed_;
  std::mt19937 random_;
};

void expect_answer_of_brute_force(const TrainingRequest& request) {
  const Result<TrainingPlan> plan = plan_training(request);
  const std::optional<TrainingChoice> best = by_brute_force(request);
  ASSERT_TRUE(plan.ok() && best);
  EXPECT_DOUBLE_EQ(plan->best.seconds, best->seconds);
  EXPECT_LE(plan->best.device, request.usable);
}

// One request: it takes minutes under a sanitizer.
TEST(TrainingSearch, IsTheAnswerOfBruteForce) {
  Draw draw;
  const TrainingRequest request = draw.request();
  SCOPED_TRACE(draw.text(request));
  expect_answer_of_brute_force(request);
}

TEST(TrainingSearch, IsTheAnswerOfBruteForceUnderZero) {
  Draw draw;
  const TrainingRequest request = draw.zero();
  SCOPED_TRACE(draw.text(request));
  expect_answer_of_brute_force(request);
}

/// Every option in all numbers of layers.
template <typename Look>
void for_each_candidate(const TrainingSpace& space, TrainingJudge& judge, const Look& look) {
  for (std::size_t option = 0; option < space.options.size(); ++option) {
    if (!judge.is_possible(option)) continue;
    for (const std::int64_t micro_batch : space.micro_batches)
      for (const int recomputed : space.recomputed)
        look(TrainingCandidate{.option = option, .micro_batch = micro_batch, .recomputed = recomputed});
  }
}

TEST(TrainingSearch, ShortModelsTellWhatTheWholeOneTells) {
  Draw draw;
  for (const Trainer trainer : {Trainer::kTransformers, Trainer::kAccelerate, Trainer::kFsdp2}) {
    TrainingRequest request = request_for(Bytes::gib(80), trainer, trainer == Trainer::kTransformers ? 1 : 2);
    take_model(request, llama(draw.number(4, 9)));
    ASSERT_EQ(request.shorter.size(), 2U);
    request.sequences = std::int64_t{4} * request.cards;
    request.start.settings.seq_len = draw.number(40, 1100);
    TrainingRequest slow = request;
    slow.shorter.clear();
    SCOPED_TRACE(draw.text(request));
    const TrainingSpace space = training_space(request).value();
    TrainingJudge judge(request, space), whole(slow, space);
    for_each_candidate(space, judge, [&](const TrainingCandidate& candidate) {
      if (candidate.recomputed % 3 != 0) return;
      ASSERT_TRUE(whole.is_possible(candidate.option));
      EXPECT_NEAR(judge.seconds(candidate) / whole.seconds(candidate), 1, 1e-9) << summary(judge, candidate);
    });
  }
}

TEST(TrainingSearch, SmallerPartsOfAMicroBatchAreNeverFaster) {
  Draw draw;
  for (int i = 0; i < 3; ++i) {
    TrainingRequest request = request_for(Bytes::gib(80));
    request.sequences = 12;
    request.start.settings.seq_len = draw.number(33, 700);
    SCOPED_TRACE(draw.text(request));
    const TrainingSpace space = training_space(request).value();
    TrainingJudge judge(request, space);
    for_each_candidate(space, judge, [&](TrainingCandidate candidate) {
      const double seconds = judge.seconds(candidate);
      for (const std::int64_t larger : space.micro_batches) {
        if (larger % candidate.micro_batch != 0) continue;
        TrainingCandidate other = candidate;
        other.micro_batch = larger;
        EXPECT_GE(seconds, judge.seconds(other)) << summary(judge, candidate);
      }
    });
  }
}

TEST(TrainingSearch, KnowsWhetherThereIsAPlan) {
  Draw draw;
  for (int i = 0; i < 2; ++i) {
    TrainingRequest request = draw.request();
    SCOPED_TRACE(draw.text(request));
    request.usable = Bytes(too_little(request).count() * draw.number(95, 125) / 100);
    EXPECT_EQ(can_train(request), plan_training(request).ok());
  }
}

// By an estimate of its own, of every pass: the plan fits, and with a larger micro-batch it does not, or is no faster.
TEST(TrainingSearch, TheNextLargerMicroBatchBreaksTheBudgetOrIsSlower) {
  Draw draw;
  for (int i = 0; i < 6; ++i) {
    const TrainingRequest request = draw.request();
    SCOPED_TRACE(draw.text(request));
    const TrainingPlan plan = plan_training(request).value();
    const auto device = [&](const TrainingConfiguration& c) {
      return estimate_training(request.model, c.settings, request.card, c.allocator).value().device;
    };
    EXPECT_EQ(device(plan.best.configuration), plan.best.device);
    EXPECT_LE(plan.best.device, request.usable);
    const TrainingSpace space = training_space(request).value();
    TrainingJudge judge(request, space);
    const auto larger =
        std::find(space.micro_batches.rbegin(), space.micro_batches.rend(), plan.best.candidate.micro_batch) + 1;
    if (larger == space.micro_batches.rend()) continue;
    TrainingCandidate next = plan.best.candidate;
    next.micro_batch = *larger;
    EXPECT_TRUE(device(judge.configuration(next)) > request.usable || judge.seconds(next) >= plan.best.seconds);
  }
}

// In the third pass of this one blocks are cut otherwise than in the second.
TEST(TrainingSearch, APlanFitsWithAllOfItsPasses) {
  TrainingRequest request = request_for(Bytes::gib(80));
  TrainingSettings& start = request.start.settings;
  start.seq_len = 384;
  start.micro_batch = 2;
  start.uses_cache = false;
  request.fixed = {"micro_batch", "checkpointing", "recomputed", "optimizer", "attention", "loss", "segments"};
  const auto device = [&](TrainingSettings settings, std::int64_t passes) {
    settings.gradient_accumulation_steps = passes;
    return estimate_training(request.model, settings, request.card, {}).value().device;
  };
  const TrainingPlan plan = plan_training(request).value();
  const TrainingSettings& chosen = plan.best.configuration.settings;
  ASSERT_EQ(chosen.gradient_accumulation_steps, 8);
  EXPECT_EQ(plan.best.device, device(chosen, 8));
  EXPECT_GT(plan.best.device, device(chosen, 2));
  request.usable = device(chosen, 2);
  EXPECT_EQ(plan_training(request).error().code, ErrorCode::kDoesNotFit);
  EXPECT_FALSE(can_train(request));
}

TEST(TrainingSearch, TakesWhatFitsAndKeepsTheBatch) {
  const TrainingPlan roomy = plan_training(request_for(Bytes::gib(80))).value();
  const TrainingPlan tight = plan_training(request_for(Bytes::mib(1200))).value();
  for (const TrainingPlan& plan : {roomy, tight}) {
    const TrainingSettings& chosen = plan.best.configuration.settings;
    EXPECT_EQ(chosen.micro_batch * chosen.gradient_accumulation_steps, 16);
  }
  EXPECT_LE(tight.best.device, Bytes::mib(1200));
  EXPECT_GE(roomy.best.tokens_per_s(), tight.best.tokens_per_s());
  ASSERT_FALSE(roomy.runner_ups.empty());
  EXPECT_LT(roomy.runner_ups.front().device, roomy.best.device);
}

TEST(TrainingSearch, WhatDoesNotFitSaysWhatTheSmallestTakes) {
  const Result<TrainingPlan> none = plan_training(request_for(Bytes::mib(400)));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(none.error().what, ::testing::HasSubstr("1 x 1024 tokens"));
}

// What is learnt changes only where nothing fits otherwise, and only as far as it is allowed.
TEST(TrainingSearch, ObjectivesChangeLastAndOnlyIfAllowed) {
  TrainingRequest request = request_for(too_little(request_for(Bytes::gib(80))));
  request.allowed = {"lora", "seq_len"};
  const TrainingPlan adapted = plan_training(request).value();
  EXPECT_TRUE(adapted.best.configuration.settings.lora.is_on());
  EXPECT_EQ(adapted.best.configuration.settings.seq_len, 1024);
  request.usable = request.usable * 2;
  EXPECT_FALSE(plan_training(request)->best.configuration.settings.lora.is_on());
  request.usable = Bytes(request.usable.count() / 2);
  request.allowed = {"seq_len"};
  EXPECT_LT(plan_training(request)->best.configuration.settings.seq_len, 1024);
  request.allowed.clear();
  EXPECT_EQ(plan_training(request).error().code, ErrorCode::kDoesNotFit);
}

TEST(TrainingSearch, WhatIsFixedStays) {
  TrainingRequest request = request_for(Bytes::gib(80));
  request.fixed = {"checkpointing", "micro_batch"};
  request.start.settings.micro_batch = 2;
  request.start.settings.checkpointing.layers = 1;
  const TrainingSettings chosen = plan_training(request)->best.configuration.settings;
  EXPECT_EQ(chosen.micro_batch, 2);
  EXPECT_EQ(chosen.checkpointing.layers, 1);
  request.start.settings.micro_batch = 3;
  EXPECT_EQ(plan_training(request).error().code, ErrorCode::kUsage);
  request = request_for(Bytes::gib(80), Trainer::kTransformers, 3);
  EXPECT_EQ(plan_training(request).error().code, ErrorCode::kUsage);  // 16 sequences for three cards
}

// Sharded, eight cards hold what none of them does whole.
TEST(TrainingSearch, SeveralCardsShareTheModel) {
  const TrainingPlan one = plan_training(request_for(Bytes::gib(80))).value();
  TrainingRequest request = request_for(Bytes::gib(80), Trainer::kFsdp2, 8);
  const TrainingPlan eight = plan_training(request).value();
  EXPECT_EQ(eight.best.configuration.settings.parallel.kind, Parallel::kFullyShard);
  EXPECT_GT(eight.best.tokens_per_s(), one.best.tokens_per_s());
  request.rates.link_byte_s /= 100;
  EXPECT_LT(plan_training(request)->best.tokens_per_s(), eight.best.tokens_per_s());
}

TEST(TrainingAlternatives, FitAndSayWhetherTheObjectiveChanges) {
  TrainingRequest request = request_for(too_little(request_for(Bytes::gib(80))));
  ASSERT_EQ(plan_training(request).error().code, ErrorCode::kDoesNotFit);
  const std::vector<TrainingAlternative> changes = changes_that_fit(request, Bytes::mib(1024));
  ASSERT_FALSE(changes.empty());
  for (const TrainingAlternative& each : changes) {
    EXPECT_EQ(changes_objective(each.mathematics),
              each.change.starts_with("--seq_len") || each.change == "--allow lora")
        << each.change;
  }
  const std::vector<const GpuModel*> cards = cards_that_fit(request, Bytes::mib(256));
  ASSERT_FALSE(cards.empty());
  EXPECT_GT(*cards.front()->cuda_total - Bytes::mib(256), request.usable);
}

// Their 16-bit states are float32 in DeepSpeed's engine, and 16-bit themselves in the other trainers.
TEST(TrainingAlternatives, SayWhatPrecisionOtherTrainersStepIn) {
  TrainingRequest request = request_for(Bytes::mib(700), Trainer::kDeepSpeed, 2);
  request.start.settings.precision = TrainingPrecision::kBf16;
  request.usable = too_little(request);
  const auto of_trainers = [](const std::vector<TrainingAlternative>& changes) {
    std::vector<Mathematics> found;
    for (const TrainingAlternative& each : changes)
      if (each.change.starts_with("--for")) found.push_back(each.mathematics);
    return found;
  };
  EXPECT_THAT(of_trainers(changes_that_fit(request, Bytes::mib(1024))),
              testing::AllOf(testing::Not(testing::IsEmpty()), testing::Each(Mathematics::kArithmetic)));
  request = request_for(Bytes::mib(700), Trainer::kDeepSpeed, 2);
  request.start.settings.precision = TrainingPrecision::kFp32;
  request.fixed = {"precision"};
  request.usable = too_little(request);
  const std::vector<Mathematics> found = of_trainers(changes_that_fit(request, Bytes::mib(1024)));
  EXPECT_THAT(found, testing::Contains(Mathematics::kRounding));
}

// An estimate keeps the events of all passes.
TEST(TrainingSearch, MorePassesThanAnEstimateKeepsAreRefusedOrAvoided) {
  TrainingRequest request = request_for(Bytes::gib(20));
  take_model(request, llama(24));
  request.start.settings.seq_len = 64;
  request.sequences = std::int64_t{1} << 16;
  const TrainingPlan plan = plan_training(request).value();
  EXPECT_GT(plan.best.candidate.micro_batch, 1);
  request.fixed = {"micro_batch"};
  request.start.settings.micro_batch = 1;
  const Result<TrainingPlan> refused = plan_training(request);
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_THAT(refused.error().remedy, testing::HasSubstr("--effective_batch"));
}

// 2^50 bytes a matrix.
TEST(TrainingSearch, WhatIsBeyondAnyCardDoesNotFit) {
  TrainingRequest request = request_for(Bytes::mib(24'000));
  take_model(request, R"({"model_type": "llama", "vocab_size": 16, "hidden_size": 16777216, "num_hidden_layers": 1,
      "num_attention_heads": 1, "intermediate_size": 16})");
  const Result<TrainingPlan> plan = plan_training(request);
  ASSERT_EQ(plan.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(plan.error().what, testing::HasSubstr("more than 65536.00 GiB"));
}

}  // namespace
}  // namespace vramwise
