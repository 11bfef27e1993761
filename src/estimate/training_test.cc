#include "estimate/training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "estimate/training_timeline.h"
#include "models/decoders/llama.h"

namespace vramwise {
namespace {

ModelConfig small_llama(int layers, std::int64_t hidden) {
  LlamaConfig config;
  config.hidden_size = hidden;
  config.intermediate_size = 4 * hidden;
  config.layers = layers;
  config.head_dim = 64;
  config.heads = hidden / 64;
  config.kv_heads = config.heads;
  return {.model_type = "llama", .architecture = llama_architecture(config), .saved_dtype = std::nullopt};
}

TrainingCard ampere() {
  return {.hardware = tape::Hardware::of(86, 82), .total = Bytes::gib(24), .context = Bytes::mib(300)};
}

TEST(TrainingEstimate, PartsSumUpToThePeak) {
  for (const bool checkpoints : {false, true}) {
    TrainingSettings settings{.micro_batch = 2, .seq_len = 512};
    settings.checkpointing.layers = checkpoints ? kAllLayers : 0;
    const auto estimate = estimate_training(small_llama(4, 512), settings, ampere());
    ASSERT_TRUE(estimate.ok());
    EXPECT_EQ(estimate->at_peak.total() + estimate->unsplit, estimate->allocated);
    EXPECT_GE(estimate->unsplit, Bytes(0));
    EXPECT_GE(estimate->reserved, estimate->allocated);
    EXPECT_EQ(estimate->device, estimate->reserved + Bytes::mib(300));
    EXPECT_GT(estimate->at_peak.weights, Bytes(estimate->parameters * 2 - 1));
  }
}

TEST(TrainingEstimate, EachCheckpointedLayerTakesLess) {
  const ModelConfig model = small_llama(4, 512);
  const auto allocated = [&model](int layers) {
    const TrainingSettings settings{.micro_batch = 8, .seq_len = 512, .checkpointing = {.layers = layers}};
    return estimate_training(model, settings, ampere()).value().allocated;
  };
  EXPECT_GT(allocated(0), allocated(2));
  EXPECT_GT(allocated(2), allocated(4));
  EXPECT_EQ(allocated(4), allocated(kAllLayers));
}

TEST(TrainingEstimate, ShardsAreAnEighth) {
  const ModelConfig model = small_llama(4, 512);
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  const Bytes alone = estimate_training(model, settings, ampere()).value().at_peak.optimizer_states;
  settings.parallel = {.kind = Parallel::kFullyShard, .ranks = 8};
  const auto sharded = estimate_training(model, settings, ampere()).value();
  EXPECT_EQ(sharded.at_peak.total() + sharded.unsplit, sharded.allocated);
  // Each shard's block is rounded up by less than 512 bytes.
  const Bytes rounding(2 * 512 * (4 * 9 + 3));
  EXPECT_GE(sharded.at_peak.optimizer_states.count(), alone.count() / 8);
  EXPECT_LE(sharded.at_peak.optimizer_states.count(), alone.count() / 8 + rounding.count());
}

TEST(TrainingEstimate, KeptParametersTakeMoreThanGatheredOnes) {
  const ModelConfig model = small_llama(6, 512);
  TrainingSettings settings{.micro_batch = 1, .seq_len = 64};
  settings.parallel = {.kind = Parallel::kFullyShard, .ranks = 8};
  const Bytes gathered = estimate_training(model, settings, ampere()).value().allocated;
  settings.parallel.reshards_after_forward = false;
  EXPECT_GT(estimate_training(model, settings, ampere()).value().allocated, gathered);
}

TEST(TrainingEstimate, BucketsHoldEveryGradientOnceMore) {
  const ModelConfig model = small_llama(4, 512);
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8, .optimizer = TrainingOptimizer::kSgd};
  const auto alone = estimate_training(model, settings, ampere()).value();
  settings.parallel = {.kind = Parallel::kDataParallel, .ranks = 2};
  const Bytes copied = estimate_training(model, settings, ampere()).value().allocated;
  EXPECT_GE(copied, alone.allocated + Bytes(alone.parameters * 2));
  settings.parallel.gradients_are_views = true;
  EXPECT_LT(estimate_training(model, settings, ampere()).value().allocated, copied);
}

TEST(TrainingEstimate, LayersAreSharedOutAndTheEmbeddingsGradientIsWhole) {
  const ModelConfig model = small_llama(6, 512);
  TrainingSettings settings{.micro_batch = 1, .seq_len = 16};
  const auto alone = estimate_training(model, settings, ampere()).value();
  settings.parallel = {.kind = Parallel::kTensor, .ranks = 4};
  const auto part = estimate_training(model, settings, ampere()).value();
  EXPECT_EQ(part.parameters, alone.parameters);
  EXPECT_EQ(part.trained_parameters, alone.trained_parameters);
  EXPECT_LT(part.at_peak.optimizer_states * 3, alone.at_peak.optimizer_states);
  EXPECT_GT(part.at_peak.optimizer_states * 4, alone.at_peak.optimizer_states);
  // That of the embeddings is whole on each card, of the rest a card has a quarter.
  const Bytes embeddings(std::int64_t{2} * 512 * LlamaConfig().vocab_size);
  EXPECT_GE(part.at_peak.gradients, embeddings + (alone.at_peak.gradients - embeddings) / 5);
  EXPECT_LT(part.at_peak.gradients, embeddings + (alone.at_peak.gradients - embeddings) / 3);
  settings.parallel.ranks = 3;
  EXPECT_EQ(estimate_training(model, settings, ampere()).error().code, ErrorCode::kUsage);  // of 8 heads
  settings.parallel.ranks = 4;
  settings.precision = TrainingPrecision::kFp16Mixed;
  EXPECT_EQ(estimate_training(model, settings, ampere()).error().code, ErrorCode::kIncomplete);
}

TEST(TrainingEstimate, RanksShareTheStatesOfWholeParameters) {
  const ModelConfig model = small_llama(4, 512);
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  settings.parallel = {.kind = Parallel::kDataParallel, .ranks = 4};
  const auto all = estimate_training(model, settings, ampere()).value();
  settings.parallel.shares_states = true;
  const auto shared = estimate_training(model, settings, ampere()).value();
  EXPECT_LT(shared.at_peak.optimizer_states, Bytes(all.at_peak.optimizer_states.count() / 2));
  EXPECT_GT(shared.at_peak.optimizer_states, Bytes(all.at_peak.optimizer_states.count() / 8));
}

TEST(TrainingEstimate, AFusedLossNeverHoldsAllLogits) {
  ModelConfig model = small_llama(2, 512);
  TrainingSettings settings{.micro_batch = 4, .seq_len = 1024};
  const auto whole = estimate_training(model, settings, ampere()).value();
  settings.loss = LossKind::kLiger;
  const auto fused = estimate_training(model, settings, ampere()).value();
  EXPECT_LT(fused.allocated, whole.allocated);
  settings.precision = TrainingPrecision::kBf16Mixed;
  EXPECT_FALSE(estimate_training(model, settings, ampere()).ok());
  model.architecture.takes_fused_loss = false;
  settings.precision = TrainingPrecision::kBf16;
  EXPECT_FALSE(estimate_training(model, settings, ampere()).ok());
}

TEST(TrainingEstimate, ALossInTilesHoldsNeitherAllLogitsNorABiasOfTheHead) {
  ModelConfig model = small_llama(2, 512);
  TrainingSettings settings{.micro_batch = 16, .seq_len = 1024};
  const auto whole = estimate_training(model, settings, ampere()).value();
  settings.loss = LossKind::kChunked;
  const auto tiled = estimate_training(model, settings, ampere()).value();
  EXPECT_LT(tiled.allocated, whole.allocated);
  settings.quantization = Quantization::kNf4;
  settings.lora = {.rank = 8};
  EXPECT_FALSE(estimate_training(model, settings, ampere()).ok());
  settings.quantization = Quantization::kNone;
  EXPECT_TRUE(estimate_training(model, settings, ampere()).ok());
  model.architecture.takes_chunked_loss = false;
  EXPECT_FALSE(estimate_training(model, settings, ampere()).ok());
}

TEST(TrainingEstimate, ParallelSettingsThatAreNotModelledAreRefused) {
  const ModelConfig model = small_llama(2, 64);
  const auto refused = [&model](const TrainingSettings& settings) {
    return !estimate_training(model, settings, ampere()).ok();
  };
  TrainingSettings settings;
  settings.parallel = {.kind = Parallel::kFullyShard, .ranks = 8};
  EXPECT_FALSE(refused(settings));
  settings.parallel.ranks = 1;
  EXPECT_TRUE(refused(settings));
  settings.parallel.ranks = 8;
  settings.optimizer = TrainingOptimizer::kAdamW8bit;
  EXPECT_TRUE(refused(settings));
  settings.optimizer = TrainingOptimizer::kAdamW;
  settings.lora.rank = 8;
  EXPECT_FALSE(refused(settings));
  settings.quantization = Quantization::kNf4;
  EXPECT_TRUE(refused(settings));
}

TEST(TrainingEstimate, ShardedFactorsHaveAllTheStates) {
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  settings.lora = {.rank = 16};
  settings.parallel = {.kind = Parallel::kFullyShard, .ranks = 4};
  const auto sharded = estimate_training(small_llama(4, 512), settings, ampere()).value();
  const std::int64_t states = 2 * 4 * sharded.trained_parameters / settings.parallel.ranks;
  EXPECT_LT(sharded.trained_parameters, sharded.parameters / 10);
  EXPECT_GE(sharded.at_peak.optimizer_states.count(), states);
  EXPECT_LE(sharded.at_peak.optimizer_states.count(), states + 2 * 512 * 4 * 14);
}

TrainingSettings under_deepspeed(int stage, int ranks, std::int64_t bucket) {
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  settings.parallel = {.kind = Parallel::kDeepSpeed, .ranks = ranks};
  settings.parallel.deepspeed = {.stage = stage, .reduce_bucket_size = bucket};
  return settings;
}

TEST(TrainingEstimate, DeepSpeedSharesOutMastersAndStates) {
  const ModelConfig model = small_llama(4, 512);
  for (const int stage : {1, 2}) {
    const auto estimate = estimate_training(model, under_deepspeed(stage, 8, 1 << 20), ampere()).value();
    const std::int64_t part = (estimate.parameters + 15) / 16 * 2;  // of a flat tensor that is padded to 16 elements
    EXPECT_EQ(estimate.at_peak.total() + estimate.unsplit, estimate.allocated);
    // The 16-bit parameters, a part of them in fp32, and two states of it.
    EXPECT_GE(estimate.allocated.count(), 2 * estimate.parameters + 3 * 4 * part);
    EXPECT_LT(estimate.at_peak.optimizer_states.count(), 2 * 4 * part + (1 << 20));
  }
}

TEST(TrainingEstimate, DeepSpeedsBucketIsThereInTheBackwardPass) {
  const ModelConfig model = small_llama(4, 512);
  constexpr auto kBackward = static_cast<std::size_t>(TrainingPhase::kBackward);
  const auto backward = [&](int stage, std::int64_t bucket) {
    return estimate_training(model, under_deepspeed(stage, 2, bucket), ampere())->phase_allocated[kBackward].count();
  };
  constexpr std::int64_t kElements = std::int64_t{64}
                                     << 20;  // more than the model has: nothing is reduced before the end
  for (const int stage : {1, 2})
    EXPECT_EQ(backward(stage, 2 * kElements) - backward(stage, kElements), 2 * kElements) << stage;
}

TEST(TrainingEstimate, ZeRO3SharesOutParametersToo) {
  const ModelConfig model = small_llama(4, 512);
  TrainingSettings settings = under_deepspeed(3, 8, 1 << 20);
  settings.parallel.deepspeed.zero3 = {.prefetch_bucket_size = 1 << 20, .max_reuse_distance = 0};
  const auto estimate = estimate_training(model, settings, ampere()).value();
  const auto stage2 = estimate_training(model, under_deepspeed(2, 8, 1 << 20), ampere()).value();
  const std::int64_t part = estimate.parameters / 8;
  EXPECT_EQ(estimate.parameters, stage2.parameters);
  EXPECT_EQ(estimate.at_peak.total() + estimate.unsplit, estimate.allocated);
  // Parameters and gradients in 16 bits, a copy in fp32, and two states of it.
  EXPECT_GE(estimate.allocated.count(), (2 + 2 + 3 * 4) * part);
  EXPECT_LT(estimate.allocated, stage2.allocated);
  EXPECT_EQ(estimate.rank, 0);
}

TEST(TrainingEstimate, ZeRO3IsRefusedOnOneCard) {
  EXPECT_EQ(estimate_training(small_llama(2, 64), under_deepspeed(3, 1, 1000), ampere()).error().code,
            ErrorCode::kIncomplete);
}

TEST(TrainingEstimate, ZeRO3IsRefusedWhereModulesTellNothing) {
  for (const char* text :
       {R"({"model_type": "gemma2", "num_hidden_layers": 2})",
        R"({"model_type": "llama", "num_hidden_layers": 2, "rope_scaling": {"rope_type": "yarn"}})"}) {
    const ModelConfig model = parse_model_config(text, "config").value();
    EXPECT_EQ(estimate_training(model, under_deepspeed(3, 4, 1000), ampere()).error().code, ErrorCode::kIncomplete);
  }
}

// Not always the one with the most live bytes.
TEST(TrainingEstimate, DeepSpeedShowsTheRankThatTakesTheMost) {
  int others = 0;
  for (const std::int64_t width : {256, 1024}) {
    const ModelConfig model = small_llama(4, width);
    for (const int ranks : {3, 5, 8}) {
      for (const std::int64_t bucket : {2 << 20, 20 << 20}) {
        TrainingSettings settings = under_deepspeed(2, ranks, bucket);
        settings.seq_len = 640;
        const Bytes shown = estimate_training(model, settings, ampere())->device;
        Bytes most{}, of_most_alive{}, most_alive{};
        for (int rank = 0; rank < ranks; ++rank) {
          settings.parallel.deepspeed.rank = rank;
          const TrainingEstimate estimate = estimate_training(model, settings, ampere()).value();
          most = std::max(most, estimate.device);
          if (estimate.allocated > most_alive) of_most_alive = estimate.device;
          most_alive = std::max(most_alive, estimate.allocated);
        }
        EXPECT_EQ(shown, most);
        others += of_most_alive < most ? 1 : 0;
      }
    }
  }
  EXPECT_GT(others, 0);
}

// 2^49 bytes a matrix.
TEST(TrainingEstimate, WhatIsBeyondAnyCardDoesNotFit) {
  const ModelConfig model = parse_model_config(R"({"model_type": "llama", "hidden_size": 16777216, "vocab_size": 16,
      "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 16})",
                                               "config")
                                .value();
  TrainingCard card = ampere();
  EXPECT_FALSE(estimate_training(model, {.seq_len = 8}, card)->fits);
  card.total = Bytes(std::int64_t{24} << 30);
  const TrainingEstimate estimate = estimate_training(model, {.seq_len = 8}, card).value();
  EXPECT_FALSE(estimate.fits);
  ASSERT_TRUE(estimate.out_of_memory);
  EXPECT_EQ(estimate.out_of_memory->requested_bytes, std::int64_t{1} << 49);
}

// Of many ranks a few are run.
TEST(TrainingEstimate, DeepSpeedMissesLittleOfManyRanks) {
  int others = 0;
  for (const std::int64_t width : {256, 1024}) {
    const ModelConfig model = small_llama(4, width);
    for (const int ranks : {9, 12, 31}) {
      TrainingSettings settings = under_deepspeed(2, ranks, 2 << 20);
      settings.seq_len = 640;
      const TrainingEstimate shown = estimate_training(model, settings, ampere()).value();
      Bytes most{}, first{};
      for (int rank = 0; rank < ranks; ++rank) {
        settings.parallel.deepspeed.rank = rank;
        const Bytes device = estimate_training(model, settings, ampere())->device;
        most = std::max(most, device);
        if (rank == 0) first = device;
      }
      EXPECT_LE(static_cast<double>(most.count()), 1.01 * static_cast<double>(shown.device.count()));
      others += shown.device > first ? 1 : 0;
    }
  }
  EXPECT_GT(others, 0);
}

TEST(TrainingEstimate, DeepSpeedRefusesWhatWasNotCompared) {
  const ModelConfig model = small_llama(2, 64);
  const auto code = [&model](const TrainingSettings& settings) {
    return estimate_training(model, settings, ampere()).error().code;
  };
  TrainingSettings settings = under_deepspeed(3, 4, 1000);
  settings.checkpointing = {.layers = kAllLayers, .is_selective = true};
  EXPECT_EQ(code(settings), ErrorCode::kIncomplete);
  settings = under_deepspeed(2, 4, 1000);
  settings.precision = TrainingPrecision::kBf16Mixed;
  EXPECT_EQ(code(settings), ErrorCode::kIncomplete);
  settings.precision = TrainingPrecision::kBf16;
  settings.lora.rank = 8;
  EXPECT_EQ(code(settings), ErrorCode::kIncomplete);
}

TEST(TrainingEstimate, OffloadedShardsLieOnTheHost) {
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  settings.parallel = {.kind = Parallel::kFullyShard, .ranks = 8};
  const auto on_card = estimate_training(small_llama(4, 512), settings, ampere()).value();
  settings.parallel.offloads = true;
  const auto offloaded = estimate_training(small_llama(4, 512), settings, ampere()).value();
  EXPECT_EQ(offloaded.at_peak.optimizer_states, Bytes(0));
  EXPECT_LT(offloaded.allocated, on_card.allocated);
  const std::int64_t shards = 2 * offloaded.parameters / 8;  // bf16
  EXPECT_GE(offloaded.host_pageable.count(), 2 * shards);
  EXPECT_GE(offloaded.host_pinned.count(), 2 * shards);
  EXPECT_LE(offloaded.host_pinned.count(), 4 * shards + (1 << 20));  // powers of two
  EXPECT_EQ(on_card.host_pinned, Bytes(0));
  settings.optimizer = TrainingOptimizer::kMuon;
  EXPECT_FALSE(estimate_training(small_llama(4, 512), settings, ampere()).ok());
}

TEST(TrainingEstimate, SelectiveCheckpointingIsBetweenNoneAndAll) {
  const auto allocated = [](const Checkpointing& checkpointing) {
    const TrainingSettings settings{.micro_batch = 8, .seq_len = 512, .checkpointing = checkpointing};
    return estimate_training(small_llama(6, 512), settings, ampere()).value().allocated;
  };
  const Bytes none = allocated({});
  const Bytes selective = allocated({.layers = kAllLayers, .is_selective = true});
  const Bytes second = allocated({.layers = kAllLayers, .every = 2});
  const Bytes all = allocated({.layers = kAllLayers});
  EXPECT_LT(all, selective);
  EXPECT_LT(selective, none);
  EXPECT_LT(all, second);
  EXPECT_LT(second, none);
}

TEST(TrainingEstimate, AdamWHasTwoStatesForEachParameter) {
  const TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  const auto estimate = estimate_training(small_llama(2, 512), settings, ampere());
  ASSERT_TRUE(estimate.ok());
  const Bytes one(estimate->parameters * 2);
  EXPECT_EQ(estimate->phase, TrainingPhase::kOptimizerStep);
  EXPECT_GE(estimate->at_peak.optimizer_states, one * 2);
  EXPECT_LT(estimate->at_peak.optimizer_states, one * 2 + Bytes::mib(1));
  EXPECT_GE(estimate->at_peak.gradients, one);
  EXPECT_LT(estimate->at_peak.gradients, one + Bytes::mib(1));
}

TEST(TrainingEstimate, LoraTrainsItsFactorsOnly) {
  TrainingSettings settings;
  settings.seq_len = 64;
  settings.lora = {.rank = 8, .dropout = 0, .targets = {"q_proj", "v_proj"}};
  const auto estimate = estimate_training(small_llama(2, 512), settings, ampere());
  ASSERT_TRUE(estimate.ok());
  EXPECT_EQ(estimate->trained_parameters, 2 * 2 * (8 * 512 + 512 * 8));
  EXPECT_LT(estimate->at_peak.gradients + estimate->at_peak.optimizer_states, Bytes::mib(2));
}

TEST(TrainingEstimate, StatesOf8BitsTakeAQuarterAndPagedOnesLieOnTheHost) {
  TrainingSettings settings{.micro_batch = 1, .seq_len = 8};
  settings.precision = TrainingPrecision::kFp32;
  const auto states = [&](TrainingOptimizer optimizer) {
    settings.optimizer = optimizer;
    return *estimate_training(small_llama(2, 512), settings, ampere());
  };
  const Bytes plain = states(TrainingOptimizer::kAdamWFused).at_peak.optimizer_states;
  const Bytes small = states(TrainingOptimizer::kAdamW8bit).at_peak.optimizer_states;
  EXPECT_GT(small * 4, plain);
  EXPECT_LT(small * 4, plain * 2);
  const TrainingEstimate paged = states(TrainingOptimizer::kPagedAdamW8bit);
  EXPECT_LT(paged.at_peak.optimizer_states, small / 10);
  EXPECT_GT(paged.host_managed, Bytes(2 * paged.parameters * 9 / 10));
  EXPECT_EQ(states(TrainingOptimizer::kAdamW8bit).host_managed, Bytes(0));
}

TEST(TrainingEstimate, QuantizedWeightsTakeAQuarterOf16Bits) {
  TrainingSettings settings;
  settings.seq_len = 64;
  settings.lora = {.rank = 8};
  const auto plain = estimate_training(small_llama(16, 1024), settings, ampere());
  settings.quantization = Quantization::kNf4Double;
  const auto small = estimate_training(small_llama(16, 1024), settings, ampere());
  ASSERT_TRUE(plain.ok() && small.ok());
  EXPECT_EQ(small->parameters, plain->parameters);
  EXPECT_EQ(small->trained_parameters, plain->trained_parameters);
  EXPECT_LT(small->phase_allocated[static_cast<int>(TrainingPhase::kForward)],
            plain->phase_allocated[static_cast<int>(TrainingPhase::kForward)]);
}

TEST(TrainingEstimate, CombinationsThatAreNotModelledAreRefused) {
  TrainingSettings settings;
  settings.quantization = Quantization::kNf4;
  EXPECT_FALSE(estimate_training(small_llama(1, 64), settings, ampere()).ok());  // 4 bits, and nothing to train
  settings.lora = {.rank = 4};
  EXPECT_TRUE(estimate_training(small_llama(1, 64), settings, ampere()).ok());
  settings.lora.uses_dora = true;
  EXPECT_FALSE(estimate_training(small_llama(1, 64), settings, ampere()).ok());
  settings = {};
  settings.optimizer = TrainingOptimizer::kMuon;
  settings.precision = TrainingPrecision::kFp16Mixed;
  EXPECT_FALSE(estimate_training(small_llama(1, 64), settings, ampere()).ok());
}

// Optimizer states are there after the first step: further ones add nothing to what is alive. (The allocator may come
// to hold one more segment later on; see docs/accuracy.md.)
TEST(TrainingEstimate, TwoStepsShowThePeakOfLiveTensors) {
  for (const char* name : {"adamw", "sgd-momentum", "adafactor", "adafactor-transformers", "muon", "adamw-8bit"}) {
    for (const bool checkpoints : {false, true}) {
      TrainingSettings settings{.micro_batch = 2, .seq_len = 300, .gradient_accumulation_steps = 2};
      settings.optimizer = *parse_training_optimizer(name);
      settings.checkpointing.layers = checkpoints ? kAllLayers : 0;
      settings.precision = checkpoints ? TrainingPrecision::kBf16Mixed : TrainingPrecision::kBf16;
      const auto two = estimate_training(small_llama(3, 384), settings, ampere());
      settings.steps = 4;
      const auto four = estimate_training(small_llama(3, 384), settings, ampere());
      ASSERT_TRUE(two.ok() && four.ok());
      EXPECT_EQ(two->allocated, four->allocated) << name;
      EXPECT_LE(two->reserved, four->reserved) << name;
    }
  }
}

TEST(TrainingEstimate, WhatDoesNotFitSaysWhereAndHowMuchIsMissing) {
  TrainingCard card = ampere();
  const TrainingSettings settings{.micro_batch = 8, .seq_len = 2048};
  card.total = Bytes::gib(2);
  const auto estimate = estimate_training(small_llama(8, 1024), settings, card);
  ASSERT_TRUE(estimate.ok());
  EXPECT_FALSE(estimate->fits);
  ASSERT_TRUE(estimate->out_of_memory);
  EXPECT_GT(estimate->out_of_memory->missing_bytes, 0);
  EXPECT_TRUE(estimate->out_of_memory_phase);
  EXPECT_LE(estimate->reserved_on_card, Bytes::gib(2));
  card.total = Bytes::gib(64);
  EXPECT_TRUE(estimate_training(small_llama(8, 1024), settings, card)->fits);
}

TEST(TrainingEstimate, SettingsThatAreNoneAreRefused) {
  EXPECT_FALSE(estimate_training(small_llama(1, 64), {.micro_batch = 0}, ampere()).ok());
  EXPECT_FALSE(estimate_training(small_llama(1, 64), {.micro_batch = 1 << 20, .seq_len = 1 << 20}, ampere()).ok());
  EXPECT_FALSE(parse_training_precision("int3").ok());
  EXPECT_FALSE(parse_training_optimizer("adam12").ok());
}

TEST(TrainingEstimate, NamesAndValuesGoThereAndBack) {
  for (const char* name : {"fp32", "bf16", "fp16", "bf16-mixed", "fp16-mixed"})
    EXPECT_STREQ(training_precision_name(*parse_training_precision(name)), name);
  for (const char* name :
       {"adamw", "adamw-fused", "adamw-loop", "sgd", "sgd-momentum", "adafactor", "adafactor-transformers", "muon",
        "adamw-8bit", "paged-adamw-8bit", "paged-adamw", "lion", "lion-8bit", "paged-lion", "paged-lion-8bit"})
    EXPECT_STREQ(training_optimizer_name(*parse_training_optimizer(name)), name);
}

TEST(TrainingTimeline, ItsHighestMomentIsThePeakWithTheSameParts) {
  const TrainingSettings settings{.micro_batch = 2, .seq_len = 256};
  const auto trace = trace_training(small_llama(3, 512), settings, ampere().hardware);
  const auto estimate = estimate_training(small_llama(3, 512), settings, ampere());
  ASSERT_TRUE(trace.ok() && estimate.ok());
  const auto total = [](const TrainingMoment& m) { return Breakdown::of(m.by_owner).total(); };
  for (const std::size_t most : {std::size_t{1}, std::size_t{7}, std::size_t{500}}) {
    const std::vector<TrainingMoment> moments = training_timeline(*trace, {}, most);
    EXPECT_EQ(moments.size(), most);
    const auto highest = std::ranges::max_element(moments, {}, total);
    EXPECT_EQ(total(*highest), estimate->at_peak.total());
    EXPECT_EQ(highest->by_owner[0], estimate->at_peak.weights);
    EXPECT_EQ(highest->phase, estimate->phase);
    EXPECT_EQ(moments.back().step, most > 1 ? settings.steps - 1 : 1);  // the peak comes first in the second step
    EXPECT_LE(moments.back().reserved, estimate->reserved);
  }
}

}  // namespace
}  // namespace vramwise
