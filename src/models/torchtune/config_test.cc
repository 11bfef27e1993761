#include "models/torchtune/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "models/catalogue/model_catalogue.h"

namespace vramwise {
namespace {

using testing::HasSubstr;

Result<TuneModel> of_catalogue(const char* name) { return parse_tune_model(find_model(name)->config, name); }

std::string small(const std::string& type, const std::string& more) {
  return fmt::format(R"({{"model_type": "{}", "vocab_size": 1000, "hidden_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 512, "max_position_embeddings": 1024{}}})",
                     type, more);
}

std::int64_t parameters_of(const ModelConfig& model) {
  tape::Tape tape(tape::Hardware{});
  const auto made = model.architecture.make(tape, DType::kBFloat16, ForwardOptions{});
  std::int64_t count = 0;
  for (const Tensor& each : made->parameters()) count += each.numel();
  return count;
}

TEST(TuneModel, HasTheParametersOfTransformersModel) {
  for (const char* name : {"meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-7B",
                           "mistralai/Mistral-7B-v0.3"}) {
    const Result<TuneModel> tuned = of_catalogue(name);
    ASSERT_TRUE(tuned.ok()) << tuned.error().what;
    EXPECT_EQ(parameters_of(tuned->model), parameters_of(parse_model_config(find_model(name)->config, name).value()))
        << name;
  }
}

TEST(TuneModel, BuildersAndTheirArgumentsAreTorchtunes) {
  const TuneModel llama = of_catalogue("meta-llama/Llama-3.2-1B").value();
  EXPECT_EQ(llama.builder, "torchtune.models.llama3_2.llama3_2");
  EXPECT_THAT(tune_arguments(llama.decoder),
              HasSubstr("max_seq_len: 131072, scale_factor: 32, tie_word_embeddings: True"));
  EXPECT_EQ(left_out(llama.decoder),
            "rope_base (rope_theta there, else 10000), norm_eps (rms_norm_eps there, else 1e-06)");
  EXPECT_EQ(of_catalogue("Qwen/Qwen2.5-0.5B")->builder, "torchtune.models.qwen2.qwen2");
  const TuneModel plain = parse_tune_model(small("llama", ""), "config.json").value();
  EXPECT_EQ(plain.builder, "torchtune.models.llama3.llama3");
  const TuneModel said =
      parse_tune_model(small("llama", R"(, "rope_theta": 500000.0, "rms_norm_eps": 1e-05)"), "config.json").value();
  EXPECT_THAT(tune_arguments(said.decoder), HasSubstr("max_seq_len: 1024, norm_eps: 1.00e-05, rope_base: 500000"));
  EXPECT_EQ(left_out(said.decoder), "");
  TuneDecoderConfig filled = plain.decoder;
  take_unsaid(filled);
  EXPECT_THAT(tune_arguments(filled), HasSubstr("max_seq_len: 1024, norm_eps: 1.00e-06, rope_base: 10000"));
  EXPECT_EQ(left_out(filled), "");
  TuneDecoderConfig kept = said.decoder;
  take_unsaid(kept);
  EXPECT_EQ(tune_arguments(kept), tune_arguments(said.decoder));
  EXPECT_EQ(plain.model.architecture.layers, 2);
  EXPECT_EQ(with_layers(plain, 1).architecture.layers, 1);
}

TEST(TuneModel, ALlamaThatIsNoLlama3HasAnotherTokenizer) {
  for (const char* name :
       {"meta-llama/Llama-3.2-1B", "meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2.5-0.5B", "mistralai/Mistral-7B-v0.3"}) {
    const Status known = check_tokenizer(of_catalogue(name).value());
    EXPECT_TRUE(known.ok()) << name;
  }
  for (const char* name : {"TinyLlama/TinyLlama-1.1B-Chat-v1.0", "meta-llama/Llama-2-7b-hf"}) {
    const Status other = check_tokenizer(of_catalogue(name).value());
    ASSERT_FALSE(other.ok()) << name;
    EXPECT_EQ(other.error().code, ErrorCode::kIncomplete);
    EXPECT_THAT(other.error().what, HasSubstr("vocabulary of 32000 tokens"));
  }
  EXPECT_EQ(of_catalogue("Qwen/Qwen2.5-0.5B")->tokenizer_files, "vocab.json and merges.txt");
}

// Ministral-8B-Instruct-2410.
TEST(TuneModel, AMistralWithTekkenHasNoTokenizerModel) {
  const auto mistral = [](int tokens) {
    return parse_tune_model(fmt::format(R"({{"model_type": "mistral", "vocab_size": {}, "hidden_size": 4096,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 12288,
        "head_dim": 128, "max_position_embeddings": 32768, "tie_word_embeddings": false}})",
                                        tokens),
                            "config.json")
        .value();
  };
  EXPECT_TRUE(check_tokenizer(mistral(32768)).ok());
  const Status tekken = check_tokenizer(mistral(131072));
  ASSERT_FALSE(tekken.ok());
  EXPECT_EQ(tekken.error().code, ErrorCode::kIncomplete);
  EXPECT_THAT(tekken.error().what, HasSubstr("no tokenizer.model"));
}

TEST(TuneModel, WhatNoBuilderMakesIsRefused) {
  for (const std::string& text :
       {small("gemma", ""), small("llama", R"(, "attention_bias": true)"), small("llama", R"(, "head_dim": 128)"),
        small("llama", R"(, "tie_word_embeddings": true)"), small("llama", R"(, "hidden_act": "gelu")"),
        small("mistral", R"(, "attention_dropout": 0.1)"),
        small("llama", R"(, "rope_scaling": {"rope_type": "linear", "factor": 2.0})"),
        small("llama", R"(, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0})")}) {
    const Result<TuneModel> tuned = parse_tune_model(text, "config.json");
    ASSERT_FALSE(tuned.ok()) << text;
    EXPECT_EQ(tuned.error().code, ErrorCode::kIncomplete) << tuned.error().what;
  }
}

}  // namespace
}  // namespace vramwise
