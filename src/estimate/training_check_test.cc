#include "estimate/training_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using ::testing::HasSubstr;

ModelConfig model_of(const char* config) { return parse_model_config(config, "test").value(); }

TEST(TrainingCheck, ATextBeyondLearnedPositionsIsRefused) {
  const std::pair<const char*, std::int64_t> most[] = {
      {R"({"model_type": "gpt2", "n_layer": 1})", 1024},
      {R"({"model_type": "opt", "num_hidden_layers": 1})", 2048},
      {R"({"model_type": "bert", "num_hidden_layers": 1})", 512},
      {R"({"model_type": "roberta", "num_hidden_layers": 1, "max_position_embeddings": 514})", 512},
  };
  for (const auto& [config, positions] : most) {
    const ModelConfig model = model_of(config);
    EXPECT_TRUE(check_training(model, {.seq_len = positions}).ok()) << config;
    const Status beyond = check_training(model, {.seq_len = positions + 1});
    ASSERT_FALSE(beyond.ok()) << config;
    EXPECT_EQ(beyond.error().code, ErrorCode::kUsage);
    EXPECT_THAT(beyond.error().what, HasSubstr("stop at a sequence of"));
  }
}

TEST(TrainingCheck, RotaryPositionsGoOn) {
  const ModelConfig model = model_of(R"({"model_type": "llama", "max_position_embeddings": 64})");
  EXPECT_TRUE(check_training(model, {.seq_len = 128}).ok());
}

TEST(TrainingCheck, MorePassesThanAreKeptAreRefused) {
  const ModelConfig model = model_of(R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 64, "n_head": 1})");
  const TrainingCard card{.hardware = tape::Hardware::of(86, 82), .total = Bytes::gib(24), .context = Bytes::mib(300)};
  const auto refused = estimate_training(model, {.seq_len = 8, .gradient_accumulation_steps = 1 << 24}, card);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_THAT(refused.error().remedy, HasSubstr("--gradient_accumulation_steps"));
  EXPECT_TRUE(estimate_training(model, {.seq_len = 8, .gradient_accumulation_steps = 1 << 10}, card).ok());
}

}  // namespace
}  // namespace vramwise
