#include "models/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/decoders/llama.h"

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

LlamaConfig keys_of(std::string_view text, LlamaConfig (*read)(ConfigReader&)) {
  const Json json = parse_json(text, "config.json").value();
  ConfigReader reader(json);
  LlamaConfig config = read(reader);
  EXPECT_FALSE(reader.error());
  return config;
}

TEST(ModelConfig, DefaultsAreThoseOfTransformers) {
  const LlamaConfig llama = keys_of("{}", llama_config);
  EXPECT_EQ(llama.hidden_size, 4096);
  EXPECT_EQ(llama.kv_heads, 32);
  EXPECT_EQ(llama.head_dim, 128);
  EXPECT_FALSE(llama.ties_embeddings);
  EXPECT_FALSE(parsed(R"({"model_type": "llama"})").saved_dtype);
}

TEST(ModelConfig, ReadsALlama3) {
  constexpr std::string_view kText = R"({"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
      "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
      "tie_word_embeddings": true, "vocab_size": 128256, "max_position_embeddings": 131072,
      "rope_scaling": {"rope_type": "llama3"}, "torch_dtype": "bfloat16"})";
  const LlamaConfig llama = keys_of(kText, llama_config);
  EXPECT_EQ(llama.kv_heads, 8);
  EXPECT_EQ(llama.head_dim, 64);
  EXPECT_TRUE(llama.ties_embeddings);
  const ModelConfig config = parsed(kText);
  EXPECT_EQ(config.architecture.layers, 16);
  EXPECT_EQ(config.architecture.max_positions, 131072);
  EXPECT_EQ(config.saved_dtype, DType::kBFloat16);
}

TEST(ModelConfig, MistralSlidesUnlessItsWindowIsNull) {
  EXPECT_EQ(keys_of("{}", mistral_config).sliding_window, 4096);
  const LlamaConfig none = keys_of(R"({"sliding_window": null})", mistral_config);
  EXPECT_FALSE(none.sliding_window);
  EXPECT_TRUE(none.sliding_layers.empty());
}

TEST(ModelConfig, QwensLayersSlideFromOneOn) {
  const LlamaConfig config = keys_of(R"({"num_hidden_layers": 3, "use_sliding_window": true,
      "sliding_window": 100, "max_window_layers": 1})",
                                     qwen2_config);
  EXPECT_THAT(config.sliding_layers, testing::ElementsAre(false, true, true));
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
  // Not this model's key, but the one that sizes of DeepSpeed follow from.
  EXPECT_THAT(refused(R"({"model_type": "gpt2", "n_embd": 768, "hidden_size": 4611686018427387904})").what,
              HasSubstr("hidden_size"));
  EXPECT_THAT(refused(R"({"model_type": "llama", "num_hidden_layers": 1000000})").what, HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refused(R"({"model_type": "llama", "num_key_value_heads": 3})").what, HasSubstr("num_key_value_heads"));
  EXPECT_THAT(refused(R"({"model_type": "qwen3", "layer_types": [7]})").what, HasSubstr("layer_types"));
  EXPECT_THAT(refused(R"({"model_type": 3})").what, HasSubstr("model_type"));
  EXPECT_THAT(refused("[]").what, HasSubstr("object"));
  EXPECT_THAT(refused("{").what, HasSubstr("config.json"));
}

}  // namespace
}  // namespace vramwise
