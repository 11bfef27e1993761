// Drawn runs of torchtune's recipe: what is repeated, against the same with every layer, pass and step really run.
#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <string>

#include "allocator/reserved_within.h"
#include "estimate/training.h"
#include "models/torchtune/config.h"

namespace vramwise {
namespace {

constexpr const char* kModels[] = {
    R"({"model_type": "llama", "vocab_size": 3000, "hidden_size": 256, "num_hidden_layers": 5,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 700, "max_position_embeddings": 2048,
        "tie_word_embeddings": true, "rope_scaling": {"rope_type": "llama3", "factor": 32.0}})",
    R"({"model_type": "qwen2", "vocab_size": 2000, "hidden_size": 384, "num_hidden_layers": 4,
        "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 512, "max_position_embeddings": 4096,
        "tie_word_embeddings": false})",
    R"({"model_type": "mistral", "vocab_size": 5000, "hidden_size": 128, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 300, "max_position_embeddings": 1024})",
};

TrainingSettings draw(std::mt19937_64& random) {
  TrainingSettings settings;
  settings.runs_tune_recipe = true;
  settings.clips_gradients = false;
  settings.uses_cache = false;
  settings.micro_batch = 1 + static_cast<std::int64_t>(random() % 3);
  settings.seq_len = 16 + static_cast<std::int64_t>(random() % 500);
  settings.gradient_accumulation_steps = 1 + static_cast<std::int64_t>(random() % 9);
  settings.steps = 1 + static_cast<int>(random() % 4);
  settings.precision = random() % 3 == 0 ? TrainingPrecision::kFp32 : TrainingPrecision::kBf16;
  settings.loss = random() % 2 == 0 ? LossKind::kWhole : LossKind::kChunked;
  settings.optimizer = random() % 2 == 0 ? TrainingOptimizer::kAdamWFused : TrainingOptimizer::kAdamW;
  if (random() % 2 == 0) settings.checkpointing.layers = kAllLayers;
  return settings;
}

// Passes of which no event is written, in steps of which each is, before the checkpoint is saved. So many events fewer.
std::size_t expect_unwritten_passes_alike(const ModelConfig& model, TrainingSettings settings,
                                          const tape::Hardware& hardware) {
  settings.repeats = false;
  const TrainingTrace whole = trace_training(model, settings, hardware).value();
  settings.repeats = true;
  settings.writes_repeats = false;
  const TrainingTrace shorter = trace_training(model, settings, hardware).value();
  EXPECT_EQ(shorter.step_work, whole.step_work);
  EXPECT_EQ(shorter.last_pass, whole.last_pass);
  EXPECT_EQ(least_reserved(shorter.events), least_reserved(whole.events));
  for (const bool expandable : {false, true}) {
    const AllocatorOptions options{.expandable_segments = expandable};
    const std::int64_t reserved = replay(whole.events, options).reserved.bytes;
    for (const std::int64_t most : {reserved, reserved - 1})
      EXPECT_EQ(reserved_within(shorter.events, options, most, shorter.repeats.events),
                most == reserved ? std::optional(reserved) : std::nullopt);
  }
  std::size_t unwritten = 0;
  for (const EventCycle& cycle : shorter.repeats.events.cycles) unwritten += cycle.times * cycle.length();
  EXPECT_EQ(shorter.events.size() + unwritten, whole.events.size());
  return unwritten;
}

TEST(TuneRecipe, RepeatsTakeWhatRunsTake) {
  const std::uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const TrainingCard card{.hardware = tape::Hardware::of(86, 82), .total = {}};
  int repeated_layers = 0, repeated_passes = 0;
  std::size_t unwritten = 0, told_cycles = 0;
  for (int i = 0; i < 30; ++i) {
    const ModelConfig model = parse_tune_model(kModels[random() % std::size(kModels)], "config.json")->model;
    TrainingSettings settings = draw(random);
    const TrainingEstimate told = estimate_training(model, settings, card).value();
    const TrainingTrace trace = trace_training(model, settings, card.hardware).value();
    repeated_layers += trace.repeats.layers;
    repeated_passes += trace.repeats.passes;
    told_cycles += trace.repeats.events.cycles.size();
    unwritten += expect_unwritten_passes_alike(model, settings, card.hardware);
    settings.repeats = false;
    const TrainingEstimate run = estimate_training(model, settings, card).value();
    EXPECT_EQ(told.allocated, run.allocated) << i;
    EXPECT_EQ(told.reserved, run.reserved) << i;
    EXPECT_EQ(trace.events.size(), trace_training(model, settings, card.hardware)->events.size()) << i;
  }
  EXPECT_GT(repeated_layers, 0);
  EXPECT_GT(repeated_passes, 0);
  EXPECT_GT(told_cycles, 0U);
  EXPECT_GT(unwritten, 0U);
}

// The embeddings of a position table are there in whole, however short the rows are.
TEST(TuneRecipe, RotaryPositionsOfTheWholeModelAreKept) {
  const TrainingCard card{.hardware = tape::Hardware::of(86, 82), .total = {}};
  TrainingSettings settings;
  settings.runs_tune_recipe = true;
  settings.micro_batch = 2;
  settings.seq_len = 1000;
  const auto allocated = [&](std::int64_t positions) {
    std::string text = kModels[1];
    text.replace(text.find("4096"), 4, std::to_string(positions));
    const TrainingEstimate e = estimate_training(parse_tune_model(text, "config.json")->model, settings, card).value();
    return e.allocated - e.unsplit;
  };
  // Cosines and sines in float32 for each position, of heads of 64.
  EXPECT_EQ(allocated(8192) - allocated(4096), Bytes(4096 * 2 * 64 * 4));
}

}  // namespace
}  // namespace vramwise
