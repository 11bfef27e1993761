#include "plan/training_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

constexpr const char* kLlama =
    R"({"model_type": "llama", "vocab_size": 4000, "hidden_size": 512, "num_hidden_layers": 4,
  "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1408, "max_position_embeddings": 4096})";

TrainingRequest request_for(Bytes usable) {
  TrainingRequest request;
  request.model = parse_model_config(kLlama, "test").value();
  request.settings.seq_len = 1024;
  request.usable = usable;
  request.card.hardware = tape::Hardware::of(86, 82);
  request.card.context = Bytes::mib(300);
  request.rates = device_rates(*find_gpu("rtx-3090"));
  return request;
}

TEST(TrainingSearch, TakesWhatFitsAndKeepsTheBatch) {
  const TrainingPlan roomy = plan_training(request_for(Bytes::gib(80))).value();
  const TrainingPlan tight = plan_training(request_for(Bytes::mib(1500))).value();
  for (const TrainingPlan& plan : {roomy, tight})
    EXPECT_EQ(plan.best.settings.micro_batch * plan.best.settings.gradient_accumulation_steps, 16);
  EXPECT_LE(tight.best.estimate.device, Bytes::mib(1500));
  EXPECT_GE(roomy.best.tokens_per_s(), tight.best.tokens_per_s());
  EXPECT_GT(roomy.best.settings.micro_batch, tight.best.settings.micro_batch);
  ASSERT_FALSE(roomy.runner_ups.empty());
  EXPECT_LT(roomy.runner_ups.front().estimate.device, roomy.best.estimate.device);
}

TEST(TrainingSearch, WhatDoesNotFitSaysWhatTheSmallestTakes) {
  const Result<TrainingPlan> none = plan_training(request_for(Bytes::mib(400)));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(none.error().what, ::testing::HasSubstr("1 x 1024 tokens"));
}

TEST(TrainingSearch, RecomputationIsLeftAloneWhereItMayNotChange) {
  TrainingRequest request = request_for(Bytes::mib(1500));
  request.may_recompute = false;
  const Result<TrainingPlan> plan = plan_training(request);
  EXPECT_TRUE(!plan.ok() || plan->best.settings.checkpointing.layers == 0);
  request.settings.checkpointing.layers = kAllLayers;
  EXPECT_GT(plan_training(request).value().best.settings.checkpointing.layers, 0);
}

}  // namespace
}  // namespace vramwise
