#include "models/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

TEST(Decoder, PresetsHaveTheSizesTheirNamesPromise) {
  const auto millions = [](const char* name) {
    return static_cast<double>(parameter_count(model_preset(name).value())) / 1e6;
  };
  EXPECT_LE(millions("tiny"), 3);
  EXPECT_GE(millions("small"), 30);
  EXPECT_LE(millions("small"), 50);
  EXPECT_GE(millions("medium"), 134);
  EXPECT_LE(millions("medium"), 150);
  EXPECT_GE(millions("large"), 350);
  EXPECT_LE(millions("large"), 400);
  for (const std::string& name : model_sizes()) EXPECT_TRUE(validate(model_preset(name).value()).ok()) << name;
}

TEST(Decoder, CountsEveryParameterOnce) {
  DecoderConfig c{.vocab_size = 10,
                  .hidden_size = 8,
                  .n_layers = 2,
                  .n_heads = 4,
                  .n_kv_heads = 2,
                  .head_dim = 4,
                  .intermediate_size = 6};
  // embedding 80; a layer: norms 16, q 128, k 64, v 64, o 128, mlp 3 x 48; final norm 8
  EXPECT_EQ(parameter_count(c), 80 + 2 * (16 + 128 + 64 + 64 + 128 + 144) + 8);
  c.tie_embeddings = false;
  EXPECT_EQ(parameter_count(c), 80 + 2 * (16 + 128 + 64 + 64 + 128 + 144) + 8 + 80);
}

TEST(Decoder, RejectsWhatCannotBeBuilt) {
  DecoderConfig c = model_preset("tiny").value();
  c.n_kv_heads = 4;
  EXPECT_THAT(validate(c).error().what, HasSubstr("does not divide"));
  c = model_preset("tiny").value();
  c.head_dim = 33;
  EXPECT_THAT(validate(c).error().what, HasSubstr("odd"));
  c = model_preset("tiny").value();
  c.n_layers = 0;
  EXPECT_THAT(validate(c).error().what, HasSubstr("n_layers is 0"));
  c.n_layers = 1'000'000;
  EXPECT_THAT(validate(c).error().what, HasSubstr("n_layers 1000000 is more than 2048"));
  EXPECT_THAT(model_preset("medum").error().remedy, HasSubstr("Did you mean \"medium\"?"));
}

TEST(Decoder, JsonRoundTrip) {
  const DecoderConfig c = model_preset("medium").value();
  EXPECT_EQ(decoder_config_from_json(to_json(c)).value(), c);
  Json broken = to_json(c);
  broken["n_heads"] = "many";
  EXPECT_THAT(decoder_config_from_json(broken).error().what, HasSubstr("n_heads"));
}

}  // namespace
}  // namespace vramwise
