#include "run/run_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

RunSpec two_unequal_cards() {
  RunSpec spec;
  spec.model = model_preset("tiny").value();
  spec.step = {.micro_batch = 4, .seq_len = 128, .gradient_accumulation_steps = 3, .precision = Precision::kBf16};
  spec.replicas = {{.device = "cuda:0", .micro_batch = 4, .predicted_peak = Bytes::mib(900), .budget = Bytes::gib(23)},
                   {.device = "cuda:1", .micro_batch = 2, .predicted_peak = Bytes::mib(500), .budget = Bytes::gib(9)}};
  spec.schedule.stop_at_val_loss = 1.25;
  spec.data.data_dir = "data";
  spec.out_dir = "out";
  spec.init_from = "weights.safetensors";
  return spec;
}

TEST(RunSpec, JsonRoundTrip) {
  const RunSpec spec = two_unequal_cards();
  const Json json = Json::parse(to_json(spec).dump());
  EXPECT_EQ(run_spec_from_json(json).value(), spec);
  RunSpec own = spec;
  own.replicas[1].knobs = CardKnobs{.checkpointed_blocks = 3, .loss_chunk_tokens = 512};
  EXPECT_EQ(run_spec_from_json(Json::parse(to_json(own).dump())).value(), own);
}

TEST(RunSpec, EffectiveBatchSumsOverUnequalCards) { EXPECT_EQ(two_unequal_cards().effective_batch_size(), 18); }

TEST(RunSpec, NamesTheBrokenKey) {
  Json json = to_json(two_unequal_cards());
  json["step"].erase("seq_len");
  EXPECT_THAT(run_spec_from_json(json).error().what, HasSubstr("seq_len"));
  json = to_json(two_unequal_cards());
  json["replicas"] = Json::array();
  EXPECT_THAT(run_spec_from_json(json).error().what, HasSubstr("replicas"));
}

}  // namespace
}  // namespace vramwise
