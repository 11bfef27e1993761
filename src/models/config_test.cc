#include "models/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using testing::HasSubstr;

ModelConfig parsed(std::string_view text) {
  Result<ModelConfig> config = parse_model_config(text, "config.json");
  EXPECT_TRUE(config.ok()) << (config.ok() ? "" : config.error().what);
  return std::move(config).value();
}

Error refused(std::string_view text) {
  const Result<ModelConfig> config = parse_model_config(text, "config.json");
  EXPECT_FALSE(config.ok());
  return config.ok() ? Error{} : config.error();
}

TEST(ModelConfig, DefaultsAreThoseOfTransformers) {
  const ModelConfig config = parsed(R"({"model_type": "llama"})");
  const auto& llama = std::get<LlamaConfig>(config.architecture);
  EXPECT_EQ(llama.hidden_size, 4096);
  EXPECT_EQ(llama.kv_heads, 32);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_FALSE(llama.ties_embeddings);
  EXPECT_FALSE(config.saved_dtype);
}

TEST(ModelConfig, ReadsALlama3) {
  const ModelConfig config = parsed(R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
      "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
      "tie_word_embeddings": true, "vocab_size": 128256, "max_position_embeddings": 131072,
      "rope_scaling": {"rope_type": "llama3"}, "torch_dtype": "bfloat16"})");
  const auto& llama = std::get<LlamaConfig>(config.architecture);
  EXPECT_EQ(llama.kv_heads, 8);
  EXPECT_EQ(llama.head_dim, 64);
  EXPECT_TRUE(llama.ties_embeddings);
  EXPECT_EQ(config.max_positions, 131072);
  EXPECT_EQ(config.saved_dtype, DType::kBFloat16);
}

TEST(ModelConfig, MistralSlidesUnlessItsWindowIsNull) {
  EXPECT_EQ(std::get<LlamaConfig>(parsed(R"({"model_type": "mistral"})").architecture).sliding_window, 4096);
  const auto none = parsed(R"({"model_type": "mistral", "sliding_window": null})");
  EXPECT_FALSE(std::get<LlamaConfig>(none.architecture).sliding_window);
  EXPECT_TRUE(std::get<LlamaConfig>(none.architecture).sliding_layers.empty());
}

TEST(ModelConfig, QwensLayersSlideFromOneOn) {
  const auto config = parsed(R"({"model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": true,
      "sliding_window": 100, "max_window_layers": 1})");
  EXPECT_THAT(std::get<LlamaConfig>(config.architecture).sliding_layers, testing::ElementsAre(false, true, true));
}

TEST(ModelConfig, AnUnknownArchitecturePointsToTheDryRun) {
  const Error error = refused(R"({"model_type": "mamba2"})");
  EXPECT_EQ(error.code, ErrorCode::kIncomplete);
  EXPECT_THAT(error.what, HasSubstr("mamba2"));
  EXPECT_THAT(error.remedy, HasSubstr("vramwise dryrun"));
  EXPECT_EQ(refused("{}").code, ErrorCode::kIncomplete);
}

TEST(ModelConfig, RotaryPositionsThatChangeWhileTheModelRunsAreRefused) {
  for (const char* rope :
       {R"("rope_scaling": {"type": "dynamic"})", R"("rope_parameters": {"rope_type": "longrope"})"}) {
    const Error error = refused(R"({"model_type": "llama", )" + std::string(rope) + "}");
    EXPECT_EQ(error.code, ErrorCode::kIncomplete);
    EXPECT_THAT(error.what, HasSubstr("rotary positions of type"));
  }
  parsed(R"({"model_type": "llama", "rope_scaling": {"type": "linear"}})");
}

TEST(ModelConfig, NonsenseIsRefusedByKey) {
  EXPECT_THAT(refused(R"({"model_type": "llama", "hidden_size": -1})").what, HasSubstr("hidden_size"));
  EXPECT_THAT(refused(R"({"model_type": "llama", "hidden_size": 1e300})").what, HasSubstr("hidden_size"));
  EXPECT_THAT(refused(R"({"model_type": "llama", "num_hidden_layers": 1000000})").what, HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refused(R"({"model_type": "llama", "num_key_value_heads": 3})").what, HasSubstr("num_key_value_heads"));
  EXPECT_THAT(refused(R"({"model_type": "qwen3", "layer_types": [7]})").what, HasSubstr("layer_types"));
  EXPECT_THAT(refused(R"({"model_type": 3})").what, HasSubstr("model_type"));
  EXPECT_THAT(refused("[]").what, HasSubstr("object"));
  EXPECT_THAT(refused("{").what, HasSubstr("config.json"));
}

}  // namespace
}  // namespace vramwise
