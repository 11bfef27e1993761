// What must hold of every estimate, and one small case by hand. Against a real run: tests/memory.
#include "estimate/ledger.h"

#include <gtest/gtest.h>

#include <random>

#include "estimate/lower_bound.h"
#include "estimate/timeline.h"

namespace vramwise {
namespace {

constexpr Target kCpu{.backend = Backend::kCpu, .threads = 1};
constexpr Target kCuda{.backend = Backend::kCuda, .context = Bytes::mib(400), .workspaces = Bytes::mib(32)};

DecoderConfig medium() { return model_preset("medium").value(); }

TEST(Timeline, KeepsTheMomentOfThePeak) {
  Timeline timeline(512);
  const Timeline::Block weights = timeline.take(Owner::kWeights, Bytes(1000));
  {
    timeline.enter(Phase::kBackward);
    const Timeline::Block a = timeline.take(Owner::kTemporaries, Bytes(512));
    const Timeline::Block none = timeline.take(Owner::kLoss, Bytes(0));
    EXPECT_EQ(timeline.live(), Bytes(1536));
  }
  timeline.enter(Phase::kOptimizerStep);
  const Timeline::Block b = timeline.take(Owner::kLoss, Bytes(1));
  EXPECT_EQ(timeline.live(), Bytes(1536));
  EXPECT_EQ(timeline.peak(), Bytes(1536));
  EXPECT_EQ(timeline.peak_phase(), Phase::kBackward);
  EXPECT_EQ(timeline.at_peak().weights, Bytes(1024));
  EXPECT_EQ(timeline.at_peak().temporaries, Bytes(512));
  EXPECT_EQ(timeline.at_peak().total(), timeline.peak());
}

TEST(Timeline, ABlockMovesAndIsGivenBackOnce) {
  Timeline timeline(1);
  Timeline::Block a = timeline.take(Owner::kLoss, Bytes(5));
  Timeline::Block b = std::move(a);
  EXPECT_EQ(timeline.live(), Bytes(5));
  b = timeline.take(Owner::kLoss, Bytes(7));
  EXPECT_EQ(timeline.live(), Bytes(7));
  b.release();
  b.release();
  EXPECT_EQ(timeline.live(), Bytes(0));
  EXPECT_EQ(timeline.peak(), Bytes(12));
}

// One block, one sequence of 4 tokens, fp32, all widths 2, vocabulary 2, one chunk, one thread: everything can be
// counted.
TEST(Ledger, ByHand) {
  const DecoderConfig config{.vocab_size = 2,
                             .hidden_size = 2,
                             .n_layers = 1,
                             .n_heads = 1,
                             .n_kv_heads = 1,
                             .head_dim = 2,
                             .intermediate_size = 2};
  const StepSettings settings{.micro_batch = 1, .seq_len = 4, .loss_chunk_tokens = 4};
  const Ledger ledger = estimate_step(config, settings, kCpu);
  // 11 parameters in slots of 64 elements: weights, gradients and two moments of 2,816 bytes.
  EXPECT_EQ(ledger.at_peak.weights, Bytes(2816));
  EXPECT_EQ(ledger.at_peak.gradients, Bytes(2816));
  EXPECT_EQ(ledger.at_peak.optimizer_states, Bytes(5632));
  // A (4, 2) tensor has 32 bytes. Batch 64, tables 32, embedding 32; norm 16, q k v 96, attention 32 + 16, middle 32,
  // norm 16, gate and up 64.
  constexpr std::int64_t kLasting = 64 + 32 + 32 + 16 + 96 + 48 + 32 + 16 + 64;
  // On top the head: its input and the gradient of that (32 each), gradients of norm and table in fp32 (8, 16), norm of
  // the chunk (32 + 16), logits (32), gradient of the norm's output (32), two partial sums of the norm's (16).
  constexpr std::int64_t kHead = 32 + 32 + 8 + 16 + 32 + 16 + 32 + 32 + 16;
  EXPECT_EQ(ledger.phase, Phase::kForward);
  EXPECT_EQ(ledger.allocated, Bytes(2816 + 2816 + 5632 + kLasting + kHead));
  EXPECT_EQ(ledger.reserved, ledger.allocated);
  EXPECT_EQ(ledger.device, ledger.allocated);
}

TEST(Ledger, EveryKnobSaves) {
  const StepSettings plain{.micro_batch = 4, .seq_len = 1024, .loss_chunk_tokens = 4096};
  for (const Target& target : {kCpu, kCuda}) {
    const auto peak = [&](auto change) {
      StepSettings settings = plain;
      change(settings);
      return estimate_step(medium(), settings, target).allocated;
    };
    const Bytes before = peak([](StepSettings&) {});
    EXPECT_LT(peak([](StepSettings& s) { s.micro_batch = 3; }), before);
    EXPECT_LT(peak([](StepSettings& s) { s.seq_len = 1023; }), before);
    EXPECT_LT(peak([](StepSettings& s) { s.checkpointed_blocks = 1; }), before);
    // The last block saves nothing: it is computed again at once, when its activations are wanted anyway.
    EXPECT_LT(peak([](StepSettings& s) { s.checkpointed_blocks = 11; }),
              peak([](StepSettings& s) { s.checkpointed_blocks = 10; }));
    EXPECT_LT(peak([](StepSettings& s) { s.offload_optimizer = true; }), before);
    EXPECT_LT(peak([](StepSettings& s) { s.precision = Precision::kBf16; }), before);
    EXPECT_EQ(peak([](StepSettings& s) { s.gradient_accumulation_steps = 8; }), before);
  }
}

TEST(Ledger, ChunksSaveWhereTheVocabularyIsLarge) {
  DecoderConfig config = medium();
  config.vocab_size = 128256;
  StepSettings settings{.micro_batch = 4, .seq_len = 1024, .loss_chunk_tokens = 4096};
  const Ledger whole = estimate_step(config, settings, kCuda);
  settings.loss_chunk_tokens = 256;
  const Ledger chunks = estimate_step(config, settings, kCuda);
  EXPECT_EQ(whole.phase, Phase::kForward);
  EXPECT_GT((whole.allocated - chunks.allocated).in_gib(), 1.0);
}

// The backward pass's workspace lies down in the room that the logits left, and the next step's logits need another.
TEST(Ledger, ReservedIsAReplayOfTheAllocator) {
  DecoderConfig config = medium();
  config.vocab_size = 32000;
  const StepSettings settings{
      .micro_batch = 4, .seq_len = 512, .precision = Precision::kBf16, .loss_chunk_tokens = 2048};
  const Bytes logits = Bytes(std::int64_t{2048} * 32000 * 4);
  const Ledger with = estimate_step(config, settings, kCuda);
  Target target = kCuda;
  target.workspaces = {};
  const Ledger without = estimate_step(config, settings, target);
  EXPECT_EQ(with.allocated - without.allocated, kCuda.workspaces);
  EXPECT_GT(with.reserved - without.reserved, logits / 2);
  EXPECT_EQ(with.reserved.rounded_up(Bytes::mib(2)), with.reserved);
}

TEST(Ledger, OffloadMovesTheStates) {
  StepSettings settings{.micro_batch = 1, .seq_len = 256, .precision = Precision::kBf16};
  const Ledger here = estimate_step(medium(), settings, kCuda);
  settings.offload_optimizer = true;
  const Ledger away = estimate_step(medium(), settings, kCuda);
  EXPECT_EQ(here.offloaded, Bytes(0));
  EXPECT_EQ(away.offloaded, here.at_peak.optimizer_states);
  EXPECT_EQ(away.at_peak.optimizer_states, Bytes(0));
  EXPECT_EQ(here.allocated - away.allocated, here.at_peak.optimizer_states);
  EXPECT_GE(here.at_peak.optimizer_states, Bytes(12) * parameter_count(medium()));
}

TEST(Ledger, AReplicaWithoutTheOptimizerHasNoStatesAnywhere) {
  for (Target target : {kCpu, kCuda}) {
    for (const bool offload : {false, true}) {
      const StepSettings settings{.micro_batch = 2, .seq_len = 256, .offload_optimizer = offload};
      const Ledger with = estimate_step(medium(), settings, target);
      target.holds_optimizer = false;
      const Ledger without = estimate_step(medium(), settings, target);
      target.holds_optimizer = true;
      EXPECT_EQ(without.at_peak.optimizer_states, Bytes());
      EXPECT_EQ(without.offloaded, Bytes());
      EXPECT_EQ(with.allocated - without.allocated, with.at_peak.optimizer_states);
    }
  }
}

TEST(Ledger, PartsAddUp) {
  for (const Target& target : {kCpu, kCuda}) {
    const Ledger ledger = estimate_step(medium(), {.micro_batch = 3, .seq_len = 777, .checkpointed_blocks = 5}, target);
    EXPECT_EQ(ledger.at_peak.total(), ledger.allocated);
    EXPECT_GE(ledger.reserved, ledger.allocated);
    EXPECT_EQ(ledger.device, ledger.reserved + target.context);
    EXPECT_EQ(ledger.at_peak.workspaces, target.workspaces);
  }
}

TEST(Ledger, AbsurdSizesAreOnlyLarge) {
  DecoderConfig config = medium();
  config.vocab_size = 1 << 24;
  const StepSettings settings{.micro_batch = std::int64_t{1} << 40, .seq_len = std::int64_t{1} << 40};
  EXPECT_GT(estimate_step(config, settings, kCuda).device, Bytes::gib(1 << 20));
}

TEST(Ledger, PhasesHaveNames) {
  for (const Phase phase : {Phase::kForward, Phase::kBackward, Phase::kOptimizerStep, Phase::kEvaluation})
    EXPECT_STRNE(phase_name(phase), "");
}

// The search trusts the bound to throw candidates away.
TEST(LowerBound, IsBelowTheEstimateAndNotFarBelow) {
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  const auto pick = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  double worst = 1;
  for (int i = 0; i < 400; ++i) {
    DecoderConfig config{.vocab_size = pick(2, 5000), .hidden_size = pick(1, 300), .n_layers = pick(1, 6)};
    config.n_kv_heads = pick(1, 3);
    config.n_heads = config.n_kv_heads * pick(1, 3);
    config.head_dim = 2 * pick(1, 40);
    config.intermediate_size = pick(1, 900);
    config.tie_embeddings = pick(0, 1) == 1;
    StepSettings settings{.micro_batch = pick(1, 9), .seq_len = pick(1, 600)};
    settings.precision = static_cast<Precision>(pick(0, 2));
    settings.checkpointed_blocks = pick(0, config.n_layers);
    settings.loss_chunk_tokens = pick(1, 6000);
    settings.offload_optimizer = pick(0, 1) == 1;
    Target target = pick(0, 1) == 1 ? kCpu : kCuda;
    target.holds_optimizer = pick(0, 1) == 1;
    const Bytes bound = least_device_bytes(config, settings, target);
    const Ledger ledger = estimate_step(config, settings, target);
    ASSERT_LE(bound, ledger.allocated + target.context) << "seed " << seed << ", case " << i;
  }
  const StepSettings settings{.micro_batch = 8, .seq_len = 1024, .precision = Precision::kBf16};
  for (const std::int64_t blocks : {0, 4, 12}) {
    StepSettings some = settings;
    some.checkpointed_blocks = blocks;
    const Bytes exact = estimate_step(medium(), some, kCuda).device;
    worst = std::min(worst, least_device_bytes(medium(), some, kCuda).in_mib() / exact.in_mib());
  }
  EXPECT_GT(worst, 0.9);
}

}  // namespace
}  // namespace vramwise
