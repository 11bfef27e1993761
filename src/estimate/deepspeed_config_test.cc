#include "estimate/deepspeed_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using ::testing::HasSubstr;

Result<DeepSpeedConfig> parse(const std::string& text) { return parse_deepspeed_config(text, "ds.json"); }

TEST(DeepSpeedConfig, ReadsWhatAFileSays) {
  const auto config = parse(R"({
    "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 8, "gradient_clipping": 1.0,
    "bf16": {"enabled": true, "check_grad_overflow": false},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": true}},
    "zero_optimization": {"stage": 1, "reduce_bucket_size": 2e8, "allgather_bucket_size": 2e8, "overlap_comm": true,
                          "contiguous_gradients": true, "round_robin_gradients": true,
                          "offload_optimizer": {"device": "none"}}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_EQ(config->options.stage, 1);
  EXPECT_EQ(config->options.reduce_bucket_size, 200'000'000);
  EXPECT_TRUE(config->options.overlaps);
  EXPECT_TRUE(config->options.round_robin);
  EXPECT_FALSE(config->options.checks_overflow);
  EXPECT_EQ(config->computed, tape::DType::kBFloat16);
  EXPECT_EQ(config->micro_batch, 4);
  EXPECT_EQ(config->passes, 8);
  EXPECT_EQ(config->clips, true);
  EXPECT_EQ(config->optimizer, TrainingOptimizer::kAdamW);
  EXPECT_FALSE(config->options.has_fused_adam);
  EXPECT_THAT(config->told, ::testing::ElementsAre("gradient_clipping", "overlap_comm", "reduce_bucket_size"));
}

TEST(DeepSpeedConfig, WhatTheFileLeavesOutIsNotTold) {
  const auto config = parse(R"({"zero_optimization": {"stage": 2}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_THAT(config->told, ::testing::IsEmpty());
  EXPECT_EQ(config->clips, true);  // GRADIENT_CLIPPING_DEFAULT of 0.19.8
}

TEST(DeepSpeedConfig, TorchsAdamHasItsOwnImplementations) {
  const std::pair<const char*, TrainingOptimizer> cases[] = {
      {R"("fused": true)", TrainingOptimizer::kAdamWFused},
      {R"("foreach": true)", TrainingOptimizer::kAdamW},
      {R"("foreach": false)", TrainingOptimizer::kAdamWLoop},
  };
  for (const auto& [parameter, optimizer] : cases) {
    const auto config = parse(fmt::format(
        R"({{"zero_optimization": {{"stage": 2}}, "optimizer": {{"type": "AdamW", "params": {{"torch_adam": true, {}}}}}}})",
        parameter));
    ASSERT_TRUE(config.ok()) << config.error().what;
    EXPECT_EQ(config->optimizer, optimizer) << parameter;
  }
}

TEST(DeepSpeedConfig, AdamIsItsOwnUnlessTorchsIsWanted) {
  const auto config = parse(R"({"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_TRUE(config->options.has_fused_adam);
}

TEST(DeepSpeedConfig, ReadsTheSizesOfStage3) {
  const auto config = parse(R"({"zero_optimization": {"stage": 3, "stage3_prefetch_bucket_size": 1e6,
    "stage3_param_persistence_threshold": 5, "stage3_model_persistence_threshold": 6, "max_live_parameters": 7,
    "stage3_max_reuse_distance": 8, "sub_group_size": 9, "contiguous_gradients": false}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  const tape::Zero3Options& zero3 = config->options.zero3;
  EXPECT_EQ(zero3.prefetch_bucket_size, 1'000'000);
  EXPECT_EQ(zero3.persistence_threshold, 5);
  EXPECT_EQ(zero3.model_persistence_threshold, 6);
  EXPECT_EQ(zero3.max_live_parameters, 7);
  EXPECT_EQ(zero3.max_reuse_distance, 8);
  EXPECT_EQ(zero3.sub_group_size, 9);
  EXPECT_TRUE(config->options.overlaps);  // by default, with stage 3
  EXPECT_FALSE(config->options.copies_gradients);
}

TEST(DeepSpeedConfig, FillsSizesAsTheTrainerDoes) {
  auto config = parse(R"({"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto", "stage3_param_persistence_threshold": "auto"}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_EQ(fill_sizes(*config, 0, "ds.json").error().code, ErrorCode::kUsage);
  ASSERT_TRUE(fill_sizes(*config, 4096, "ds.json").ok());
  EXPECT_EQ(config->options.reduce_bucket_size, 16'777'216);
  EXPECT_EQ(config->options.zero3.prefetch_bucket_size, 15'099'494);
  EXPECT_EQ(config->options.zero3.persistence_threshold, 40'960);
}

TEST(DeepSpeedConfig, AutoLeavesItToTheTrainer) {
  const auto config = parse(R"({"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "zero_optimization": {"stage": 2}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_FALSE(config->micro_batch || config->passes || config->clips || config->computed || config->optimizer);
  EXPECT_EQ(config->options.reduce_bucket_size, 500'000'000);
  EXPECT_TRUE(config->options.checks_overflow);
}

// As DeepSpeedConfig._set_batch_related_parameters of 0.19.8 has it, with 4 ranks.
TEST(DeepSpeedConfig, TrainBatchSizeTellsWhatIsLeftOut) {
  struct Case {
    const char* batch = nullptr;
    std::optional<std::int64_t> micro_batch, passes;
  };
  const Case cases[] = {
      {R"("train_batch_size": 32)", 8, 1},
      {R"("train_batch_size": 32, "train_micro_batch_size_per_gpu": 2)", 2, 4},
      {R"("train_batch_size": 32, "gradient_accumulation_steps": 2)", 4, 2},
      {R"("train_batch_size": 32, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4)", 2, 4},
      {R"("train_batch_size": 24, "train_micro_batch_size_per_gpu": "auto")", 3, 2},
      {R"("train_batch_size": "auto", "train_micro_batch_size_per_gpu": 2)", 2, std::nullopt},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.batch);
    const auto config = parse(fmt::format(R"({{"zero_optimization": {{"stage": 2}}, {}}})", each.batch));
    ASSERT_TRUE(config.ok()) << config.error().what;
    const auto batch = share_out_batch(*config, 4, 3, 5, "ds.json");
    ASSERT_TRUE(batch.ok()) << batch.error().what;
    EXPECT_EQ(batch->micro_batch, each.micro_batch);
    EXPECT_EQ(batch->passes, each.passes);
  }
  const std::pair<const char*, ErrorCode> wrong[] = {
      {R"("train_batch_size": 30)", ErrorCode::kWorld},
      {R"("train_batch_size": 2)", ErrorCode::kWorld},
      {R"("train_batch_size": 32, "train_micro_batch_size_per_gpu": 3)", ErrorCode::kWorld},
      {R"("gradient_accumulation_steps": 2)", ErrorCode::kWorld},  // neither of the others
      {R"("train_batch_size": 32, "gradient_accumulation_steps": "auto")", ErrorCode::kUsage},
  };
  for (const auto& [text, code] : wrong) {
    const auto config = parse(fmt::format(R"({{"zero_optimization": {{"stage": 2}}, {}}})", text));
    ASSERT_TRUE(config.ok()) << config.error().what;
    const auto batch = share_out_batch(*config, 4, 3, 5, "ds.json");
    ASSERT_FALSE(batch.ok()) << text;
    EXPECT_EQ(batch.error().code, code) << text;
  }
}

TEST(DeepSpeedConfig, SaysWhatIsWrong) {
  EXPECT_EQ(parse("{").error().code, ErrorCode::kWorld);
  const std::pair<const char*, const char*> wrong[] = {
      {"[]", "ds.json"},
      {R"({"zero_optimization": 2})", "zero_optimization must be an object"},
      {R"({"zero_optimization": null})", "zero_optimization must be an object"},
      {R"({"zero_optimization": "auto"})", "zero_optimization must be an object"},
      {R"({"zero_optimization": {"stage": 4294967298}})", "stage is 4294967298"},
      {R"({"zero_optimization": {"stage": "two"}})", "stage must be a number"},
      {R"({"zero_optimization": {"stage": 2, "reduce_bucket_size": -1}})", "reduce_bucket_size"},
      {R"({"zero_optimization": {"stage": 3, "stage3_max_live_parameters": "auto"}})", "auto"},
      {R"({"zero_optimization": {"stage": 2, "overlap_com": true}})", "overlap_com"},
      {R"({"zero_optimization": {"stage": 2}, "fp16": {"enabled": true}, "bf16": {"enabled": true}})", "both"},
  };
  for (const auto& [text, what] : wrong) {
    const auto config = parse(text);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.error().code, ErrorCode::kWorld) << text;
    EXPECT_THAT(config.error().what, HasSubstr(what));
  }
}

// As DeepSpeedZeroConfig of 0.19.8 takes them.
TEST(DeepSpeedConfig, TakesWhatPydanticTakes) {
  const auto config =
      parse(R"({"zero_optimization": {"stage": "2", "reduce_bucket_size": "2000", "overlap_comm": "True",
    "reduce_scatter": 0}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_EQ(config->options.stage, 2);
  EXPECT_EQ(config->options.reduce_bucket_size, 2000);
  EXPECT_TRUE(config->options.overlaps);
  EXPECT_FALSE(config->options.reduces_to_owner);
  for (const char* text : {R"({"zero_optimization": {"stage": 2, "reduce_bucket_size": "5e8"}})",
                           R"({"zero_optimization": {"stage": 2, "overlap_comm": 2}})",
                           R"({"zero_optimization": {"stage": 2}, "train_batch_size": "8"})"})
    EXPECT_EQ(parse(text).error().code, ErrorCode::kWorld) << text;
}

// read_zero_config_deprecated of zero/config.py.
TEST(DeepSpeedConfig, TrueIsStage1WithItsDefaults) {
  const auto config = parse(R"({"zero_optimization": true, "allgather_size": 2e8})");
  const auto written_out = parse(R"({"zero_optimization": {"stage": 1}})");
  ASSERT_TRUE(config.ok()) << config.error().what;
  EXPECT_EQ(config->options.stage, 1);
  EXPECT_EQ(config->options.reduce_bucket_size, written_out->options.reduce_bucket_size);
  EXPECT_EQ(config->options.overlaps, written_out->options.overlaps);
  EXPECT_EQ(config->told, written_out->told);
}

TEST(DeepSpeedConfig, RefusesWhatIsNotModelled) {
  for (const char* text :
       {"{}", R"({"zero_optimization": {"stage": 0}})", R"({"zero_optimization": false})",
        R"({"zero_optimization": {}})",
        R"({"zero_optimization": {"stage": 3, "stage3_module_granularity_threshold": 100}})",
        R"({"zero_optimization": {"stage": 3, "stage3_allgather_sequential": true}})",
        R"({"zero_optimization": {"stage": 3, "use_all_reduce_for_fetch_params": true}})",
        R"({"zero_optimization": {"stage": 3, "memory_efficient_linear": false}})",
        R"({"zero_optimization": {"stage": 3, "leaf_module": {"classes": ["MoE"]}}})",
        R"({"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 8}})",
        R"({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}})",
        R"({"zero_optimization": {"stage": 2, "contiguous_gradients": false}})",
        R"({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}})",
        R"({"zero_optimization": {"stage": 2}, "communication_data_type": "fp32", "bf16": {"enabled": true}})",
        R"({"zero_optimization": {"stage": 2}, "data_types": {"grad_accum_dtype": "fp32"}, "bf16": {"enabled": true}})",
        R"({"zero_optimization": {"stage": 2}, "optimizer": {"type": "Lamb", "params": {"lr": 1e-4}}})",
        R"({"zero_optimization": {"stage": 2}, "torch_autocast": {"enabled": true}})"}) {
    const auto config = parse(text);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.error().code, ErrorCode::kIncomplete) << text << config.error().what;
  }
}

}  // namespace
}  // namespace vramwise
