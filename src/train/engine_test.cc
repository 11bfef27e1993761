#include "train/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cmath>
#include <csignal>
#include <fstream>
#include <mutex>

#include "data/dataset.h"
#include "train/batch_order.h"
#include "train/memory_probe.h"
#include "train/test_support.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What RLIMIT_DATA limits: private writable memory, touched or not ("VmData" in /proc/self/status).
rlim_t data_segment_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmData:")) return static_cast<rlim_t>(std::stoull(line.substr(7))) * 1024;
  }
  return 0;
}

/// Steps with a fresh engine, seeing gradients, losses and weights.
struct Trace {
  std::vector<torch::Tensor> gradients;
  std::vector<double> losses;
  std::vector<double> norms;
  torch::Tensor weights;
};

class EngineTest : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    ASSERT_TRUE(make_folders(out("out")).ok());
    auto data = open_dataset({.data_dir = spec().data.data_dir});
    ASSERT_TRUE(data.ok());
    tokens_ = data->train;
  }

  std::vector<std::int64_t> starts(const RunSpec& spec, std::int64_t step) const {
    const BatchOrder order(tokens_.size(), spec.step.seq_len, 1);
    const std::int64_t size = spec.effective_batch_size();
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < size; ++i) all.push_back(order.start_of((step - 1) * size + i));
    return all;
  }

  Trace steps(const RunSpec& spec, int count, TrainerHooks hooks = {}) const {
    Trace trace;
    hooks.after_gradients = [&, also = hooks.after_gradients](std::int64_t step, const torch::Tensor& gradients) {
      trace.gradients.push_back(gradients.clone());
      if (also) also(step, gradients);
    };
    auto engine = Engine::create(spec, hooks, {});
    EXPECT_TRUE(engine.ok());
    (*engine)->initialize_weights(11);
    for (int step = 1; step <= count; ++step) {
      const std::vector<std::int64_t> batch = starts(spec, step);
      const auto outcome = (*engine)->step({step, 1e-3, {&tokens_, batch}});
      EXPECT_TRUE(outcome.ok());
      trace.losses.push_back(outcome->loss);
      trace.norms.push_back(outcome->grad_norm);
    }
    trace.weights = (*engine)->first().flat().weights.clone();
    return trace;
  }

  TokenSource tokens_;
};

TEST_F(EngineTest, TwoTimesEightHasTheGradientsOfSixteenTimesOne) {
  RunSpec split = spec();
  set_batch(split, 2, 8);
  RunSpec whole = spec();
  set_batch(whole, 16, 1);
  const Trace a = steps(split, 1);
  const Trace b = steps(whole, 1);
  EXPECT_LT(relative_difference(a.gradients[0], b.gradients[0]), 1e-5);
  EXPECT_NEAR(a.losses[0], b.losses[0], 1e-6);
  EXPECT_GT(b.norms[0], 0.01);
}

TEST_F(EngineTest, UnequalReplicasHaveTheGradientsOfOne) {
  RunSpec replicas = spec();
  replicas.step.gradient_accumulation_steps = 3;
  replicas.replicas = {{.device = "cpu", .micro_batch = 4}, {.device = "cpu", .micro_batch = 1}};
  RunSpec one = spec();
  set_batch(one, 5, 3);
  ASSERT_EQ(replicas.effective_batch_size(), one.effective_batch_size());
  const Trace a = steps(replicas, 4);
  const Trace b = steps(one, 4);
  EXPECT_LT(relative_difference(a.gradients[0], b.gradients[0]), 1e-5);
  EXPECT_LT(relative_difference(a.weights, b.weights), 1e-4);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 1e-5);
}

// A card that is short of memory computes its share in more passes; who computes what does not depend on their size.
TEST_F(EngineTest, PlannedSharesNeedNotFollowTheMicroBatches) {
  RunSpec replicas = spec();
  replicas.effective_batch = 15;
  replicas.step.gradient_accumulation_steps = 6;
  replicas.replicas = {{.device = "cpu", .micro_batch = 4, .sequences = 4},
                       {.device = "cpu", .micro_batch = 2, .sequences = 11}};
  std::array<std::int64_t, 2> computed{};
  TrainerHooks hooks;
  std::mutex mutex;
  hooks.before_micro_batch = [&](const MicroBatchPoint& point) {
    const std::lock_guard lock(mutex);
    computed[point.replica] += point.sequences;
  };
  RunSpec one = spec();
  set_batch(one, 5, 3);
  const Trace a = steps(replicas, 1, hooks);
  EXPECT_THAT(computed, ElementsAre(4, 11));
  EXPECT_LT(relative_difference(a.gradients[0], steps(one, 1).gradients[0]), 1e-5);
}

TEST_F(EngineTest, ReplicasMayHaveKnobsOfTheirOwn) {
  RunSpec alike = spec();
  alike.replicas = {{.device = "cpu", .micro_batch = 3}, {.device = "cpu", .micro_batch = 2}};
  RunSpec own = alike;
  own.replicas[1].knobs = CardKnobs{.checkpointed_blocks = 2, .loss_chunk_tokens = 7};
  EXPECT_EQ(own.settings_of(own.replicas[0]), own.step);
  EXPECT_EQ(own.settings_of(own.replicas[1]).checkpointed_blocks, 2);
  const Trace a = steps(own, 4);
  const Trace b = steps(alike, 4);
  EXPECT_FALSE(a.gradients[0].equal(b.gradients[0]));  // other chunks round otherwise
  EXPECT_LT(relative_difference(a.gradients[0], b.gradients[0]), 1e-5);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 1e-5);
}

TEST_F(EngineTest, ReplicasAreDeterministic) {
  RunSpec replicas = spec();
  replicas.replicas = {{.device = "cpu", .micro_batch = 3}, {.device = "cpu", .micro_batch = 2}};
  EXPECT_TRUE(steps(replicas, 3).weights.equal(steps(replicas, 3).weights));
}

TEST_F(EngineTest, KnobsOfMemoryDoNotChangeTheLosses) {
  const Trace plain = steps(spec(), 4);
  const auto expect_same = [&](const RunSpec& other, double tolerance) {
    const Trace trace = steps(other, 4);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(trace.losses[i], plain.losses[i], tolerance) << i;
  };
  RunSpec other = spec();
  other.step.offload_optimizer = true;
  expect_same(other, 1e-7);
  other = spec();
  other.step.checkpointed_blocks = 2;
  expect_same(other, 1e-6);
  other.step.checkpointed_blocks = 1;
  expect_same(other, 1e-6);
  other = spec();
  other.step.loss_chunk_tokens = 7;
  expect_same(other, 1e-6);
}

TEST_F(EngineTest, SixteenBitsFollowFp32) {
  const Trace fp32 = steps(spec(), 6);
  for (const Precision precision : {Precision::kBf16, Precision::kFp16}) {
    RunSpec half = spec();
    half.step.precision = precision;
    const Trace trace = steps(half, 6);
    for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(trace.losses[i], fp32.losses[i], 0.02) << precision_name(precision);
    EXPECT_EQ(trace.gradients[0].scalar_type(), torch::kFloat);
    half.step.offload_optimizer = true;
    const Trace offloaded = steps(half, 6);
    EXPECT_TRUE(offloaded.weights.equal(trace.weights)) << precision_name(precision);
  }
}

/// AdamW as in the paper (Loshchilov and Hutter, 2019, algorithm 2), with gradients clipped by their global norm.
TEST_F(EngineTest, TheUpdateIsClippedAdamW) {
  RunSpec clipped = spec();
  clipped.optimizer.max_grad_norm = 0.1;
  const Trace trace = steps(clipped, 2);
  ASSERT_GT(trace.norms[0], 0.1);
  auto engine = Engine::create(clipped, {}, {});
  (*engine)->initialize_weights(11);
  torch::Tensor weights = (*engine)->first().flat().weights.to(torch::kDouble);
  torch::Tensor mean = torch::zeros_like(weights);
  torch::Tensor square = torch::zeros_like(weights);
  torch::Tensor decay = torch::zeros_like(weights);
  decay.narrow(0, 0, (*engine)->layout().decayed()).fill_(clipped.optimizer.weight_decay);
  for (int step = 1; step <= 2; ++step) {
    const torch::Tensor raw = trace.gradients[static_cast<std::size_t>(step - 1)].to(torch::kDouble);
    const torch::Tensor gradient = raw * (0.1 / raw.norm());
    mean = 0.9 * mean + 0.1 * gradient;
    square = 0.95 * square + 0.05 * gradient * gradient;
    const torch::Tensor direction =
        mean / (1 - std::pow(0.9, step)) / ((square / (1 - std::pow(0.95, step))).sqrt() + 1e-8);
    weights = weights - 1e-3 * (direction + decay * weights);
  }
  EXPECT_LT(relative_difference(trace.weights.to(torch::kDouble), weights), 1e-5);
}

TEST_F(EngineTest, Fp16SurvivesAnOverflow) {
  RunSpec half = spec();
  half.step.precision = Precision::kFp16;
  TrainerHooks hooks;
  hooks.after_gradients = [](std::int64_t step, torch::Tensor gradients) {
    if (step == 3) gradients[100] = std::numeric_limits<float>::infinity();
  };
  auto engine = Engine::create(half, hooks, {});
  ASSERT_TRUE(engine.ok());
  (*engine)->initialize_weights(11);
  double last = 0;
  for (int step = 1; step <= 12; ++step) {
    const std::vector<std::int64_t> batch = starts(half, step);
    const torch::Tensor before = (*engine)->first().flat().weights.clone();
    const double scale = (*engine)->scaler().scale();
    const auto outcome = (*engine)->step({step, 3e-3, {&tokens_, batch}});
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(outcome->skipped, step == 3);
    EXPECT_EQ((*engine)->first().flat().weights.equal(before), step == 3);
    EXPECT_EQ((*engine)->scaler().scale(), step == 3 ? scale / 2 : scale);
    EXPECT_EQ((*engine)->first().flat().gradients.count_nonzero().item<std::int64_t>(), 0);
    last = outcome->loss;
  }
  EXPECT_EQ((*engine)->updates(), 11);
  EXPECT_LT(last, 4.0);  // ln 64 = 4.16
}

TEST_F(EngineTest, ARealOverflowOfFp16IsFoundToo) {
  RunSpec half = spec();
  half.step.precision = Precision::kFp16;
  auto engine = Engine::create(half, {}, {});
  ASSERT_TRUE(engine.ok());
  (*engine)->initialize_weights(11);
  ASSERT_TRUE((*engine)->scaler().restore({{"scale", 1e12}, {"good_steps", 0}, {"skipped_steps", 0}}).ok());
  const std::vector<std::int64_t> batch = starts(half, 1);
  const auto outcome = (*engine)->step({1, 1e-3, {&tokens_, batch}});
  ASSERT_TRUE(outcome.ok());
  EXPECT_TRUE(outcome->skipped);
  EXPECT_TRUE(std::isfinite(outcome->loss));
}

TEST_F(EngineTest, ARunThatNeverRecoversEnds) {
  TrainerHooks hooks;
  hooks.after_gradients = [](std::int64_t, torch::Tensor gradients) { gradients.fill_(std::nan("")); };
  auto engine = Engine::create(spec(), hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(spec(), 1);
  int step = 1;
  for (;; ++step) {
    const auto outcome = (*engine)->step({step, 1e-3, {&tokens_, batch}});
    if (outcome.ok()) continue;
    EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
    EXPECT_THAT(outcome.error().what, HasSubstr("not finite"));
    break;
  }
  EXPECT_EQ(step, LossScaler::kMostSkipped);
}

[[noreturn]] void run_out_of_memory() {
  throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory. Tried to allocate 2.00 GiB.");
}

TEST_F(EngineTest, OutOfMemoryHalvesTheMicroBatchAndChangesNothingElse) {
  for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
    RunSpec run = spec();
    run.step.precision = precision;
    set_batch(run, 7, 3);
    const Trace quiet = steps(run, 5);
    std::vector<std::int64_t> sizes;
    int thrown = 0;
    TrainerHooks hooks;
    hooks.before_micro_batch = [&](const MicroBatchPoint& point) {
      // In the middle of a step, so that something has to be undone; and again at once.
      if (point.step == 2 && point.index == 1 && point.sequences > 2 && ++thrown) run_out_of_memory();
      if (point.step == 3) sizes.push_back(point.sequences);
    };
    std::vector<OutOfMemoryEvent> events;
    auto engine = Engine::create(run, hooks, [&](const OutOfMemoryEvent& event) { events.push_back(event); });
    ASSERT_TRUE(engine.ok());
    (*engine)->initialize_weights(11);
    for (int step = 1; step <= 5; ++step) {
      const std::vector<std::int64_t> batch = starts(run, step);
      const auto outcome = (*engine)->step({step, 1e-3, {&tokens_, batch}});
      ASSERT_TRUE(outcome.ok());
      const double tolerance = precision == Precision::kFp32 ? 1e-5 : 5e-3;
      EXPECT_NEAR(outcome->loss, quiet.losses[static_cast<std::size_t>(step - 1)], tolerance);
    }
    EXPECT_EQ(thrown, 2);
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].old_micro_batch, 7);
    EXPECT_EQ(events[0].new_micro_batch, 3);
    EXPECT_EQ(events[1].new_micro_batch, 1);
    EXPECT_THAT((*engine)->micro_batches(), ElementsAre(1));
    EXPECT_EQ(sizes.size(), 21U);
  }
}

/// By then the gradients of all replicas are summed in the first's, so the sum must be undone; the optimizer is not
/// touched yet.
TEST_F(EngineTest, OutOfMemoryBetweenGradientsAndUpdateMakesTheStepAgain) {
  RunSpec run = spec();
  run.replicas = {{.device = "cpu", .micro_batch = 4}, {.device = "cpu", .micro_batch = 2}};
  const Trace quiet = steps(run, 4);
  TrainerHooks hooks;
  int thrown = 0;
  hooks.after_gradients = [&](std::int64_t step, const torch::Tensor& /*gradients*/) {
    if (step == 2 && ++thrown <= 2) run_out_of_memory();
  };
  std::vector<OutOfMemoryEvent> events;
  auto engine = Engine::create(run, hooks, [&](const OutOfMemoryEvent& event) { events.push_back(event); });
  ASSERT_TRUE(engine.ok());
  (*engine)->initialize_weights(11);
  for (int step = 1; step <= 4; ++step) {
    const std::vector<std::int64_t> batch = starts(run, step);
    const auto outcome = (*engine)->step({step, 1e-3, {&tokens_, batch}});
    ASSERT_TRUE(outcome.ok()) << outcome.error().what;
    EXPECT_NEAR(outcome->loss, quiet.losses[static_cast<std::size_t>(step - 1)], 1e-5);
    EXPECT_NEAR(outcome->grad_norm, quiet.norms[static_cast<std::size_t>(step - 1)], 1e-4);
  }
  EXPECT_EQ(thrown, 3);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].replica, 0U);
  EXPECT_THAT((*engine)->micro_batches(), ElementsAre(1, 2));
  EXPECT_EQ((*engine)->updates(), 4);
  EXPECT_LT(relative_difference((*engine)->first().flat().weights, quiet.weights), 1e-4);
}

TEST_F(EngineTest, OutOfMemoryBetweenGradientsAndUpdateEndsWithASingleSequence) {
  RunSpec run = spec();
  set_batch(run, 1, 2);
  TrainerHooks hooks;
  hooks.after_gradients = [](std::int64_t, const torch::Tensor&) { run_out_of_memory(); };
  auto engine = Engine::create(run, hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(run, 1);
  const auto outcome = (*engine)->step({1, 1e-3, {&tokens_, batch}});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kDoesNotFit);
  EXPECT_EQ((*engine)->updates(), 0);
}

TEST_F(EngineTest, ASignalWithinAStepUndoesIt) {
  RunSpec run = spec();
  run.replicas = {{.device = "cpu", .micro_batch = 2}, {.device = "cpu", .micro_batch = 2}};
  run.step.gradient_accumulation_steps = 4;
  const Trace quiet = steps(run, 2);
  std::atomic<int> asked = 0;
  std::atomic<int> signal = 0;
  std::atomic<int> computed = 0;
  TrainerHooks hooks;
  hooks.stop_signal = [&] {
    if (++asked == 13) signal = SIGTERM;  // step 1 asks 8 times
    return signal.load();
  };
  hooks.before_micro_batch = [&](const MicroBatchPoint& /*point*/) { ++computed; };
  auto engine = Engine::create(run, hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> first = starts(run, 1);
  const std::vector<std::int64_t> second = starts(run, 2);
  ASSERT_TRUE((*engine)->step({1, 1e-3, {&tokens_, first}}).ok());
  const torch::Tensor before = (*engine)->first().flat().weights.clone();
  const auto interrupted = (*engine)->step({2, 1e-3, {&tokens_, second}});
  ASSERT_TRUE(interrupted.ok());
  EXPECT_TRUE(interrupted->interrupted);
  EXPECT_LE(computed, 13);
  EXPECT_TRUE((*engine)->first().flat().weights.equal(before));
  EXPECT_EQ((*engine)->updates(), 1);
  EXPECT_FALSE((*engine)->evaluate(1, {&tokens_, second}).value().has_value());
  signal = 0;
  const auto again = (*engine)->step({2, 1e-3, {&tokens_, second}});
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->interrupted);
  EXPECT_TRUE((*engine)->first().flat().weights.equal(quiet.weights));
}

TEST_F(EngineTest, OnlyTheReplicaThatRanOutIsHalved) {
  RunSpec run = spec();
  run.replicas = {{.device = "cpu", .micro_batch = 4}, {.device = "cpu", .micro_batch = 2}};
  TrainerHooks hooks;
  bool thrown = false;
  hooks.before_micro_batch = [&](const MicroBatchPoint& point) {
    if (point.replica == 1 && point.step == 1 && !std::exchange(thrown, true)) run_out_of_memory();
  };
  auto engine = Engine::create(run, hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(run, 1);
  const auto outcome = (*engine)->step({1, 1e-3, {&tokens_, batch}});
  ASSERT_TRUE(outcome.ok());
  EXPECT_THAT((*engine)->micro_batches(), ElementsAre(4, 1));
  EXPECT_NEAR(outcome->loss, steps(run, 1).losses[0], 1e-5);
}

TEST_F(EngineTest, WithASingleSequenceItDoesNotFit) {
  TrainerHooks hooks;
  hooks.before_micro_batch = [](const MicroBatchPoint&) { throw std::bad_alloc(); };
  auto engine = Engine::create(spec(), hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(spec(), 1);
  const auto outcome = (*engine)->step({1, 1e-3, {&tokens_, batch}});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kDoesNotFit);
  EXPECT_THAT(outcome.error().what, HasSubstr("cpu is out of memory in step 1, with a single sequence"));
  EXPECT_THAT(outcome.error().remedy, HasSubstr("--seq_len"));
}

TEST_F(EngineTest, EvaluationHalvesOnlyItself) {
  TrainerHooks hooks;
  int thrown = 0;
  hooks.before_eval_batch = [&](const MicroBatchPoint& point) {
    if (point.sequences > 2 && ++thrown) run_out_of_memory();
  };
  auto engine = Engine::create(spec(), hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(spec(), 1);
  const auto loss = (*engine)->evaluate(1, {&tokens_, batch});
  ASSERT_TRUE(loss.ok());
  EXPECT_EQ(thrown, 1);
  EXPECT_THAT((*engine)->micro_batches(), ElementsAre(4));
  auto quiet = Engine::create(spec(), {}, {});
  (*quiet)->initialize_weights(11);
  EXPECT_NEAR(**loss, *(*quiet)->evaluate(1, {&tokens_, batch}).value(), 1e-6);
}

TEST_F(EngineTest, OtherFailuresAreNotTakenForMemory) {
  TrainerHooks hooks;
  hooks.before_micro_batch = [](const MicroBatchPoint&) { throw std::runtime_error("CUDA error: device-side assert"); };
  auto engine = Engine::create(spec(), hooks, {});
  (*engine)->initialize_weights(11);
  const std::vector<std::int64_t> batch = starts(spec(), 1);
  const auto outcome = (*engine)->step({1, 1e-3, {&tokens_, batch}});
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("device-side assert"));
}

/// Anonymous memory that an engine holds after a step.
Bytes held_by_engine(const RunSpec& spec, const TokenSource& tokens, std::span<const std::int64_t> starts) {
  ::malloc_trim(0);
  const Bytes before = process_memory()->anonymous;
  auto engine = Engine::create(spec, {}, {});
  EXPECT_TRUE(engine.ok());
  (*engine)->initialize_weights(11);
  EXPECT_TRUE((*engine)->step({1, 1e-3, {&tokens, starts}}).ok());
  ::malloc_trim(0);
  return process_memory()->anonymous - before;
}

TEST_F(EngineTest, OffloadTakesTheStatesOutOfMemory) {
  if (!process_memory()) GTEST_SKIP() << "no /proc here";
  RunSpec big = spec();
  set_batch(big, 1, 1);
  big.model.hidden_size = 512;
  big.model.intermediate_size = 2048;
  big.model.n_layers = 5;
  const std::vector<std::int64_t> batch = starts(big, 1);
  static_cast<void>(held_by_engine(big, tokens_, batch));  // loads what is loaded once
  const Bytes plain = held_by_engine(big, tokens_, batch);
  big.step.offload_optimizer = true;
  const Bytes offloaded = held_by_engine(big, tokens_, batch);
  const double states = 8.0 * static_cast<double>(parameter_count(big.model));
  EXPECT_NEAR(static_cast<double>((plain - offloaded).count()) / states, 1.0, 0.05);
}

/// The real thing: the system refuses memory to PyTorch's CPU allocator in the middle of a step.
TEST_F(EngineTest, ARefusalOfTheSystemIsSurvived) {
  if (!process_memory()) GTEST_SKIP() << "no /proc here";
  RunSpec run = spec();
  run.model.vocab_size = 16'384;
  run.step.loss_chunk_tokens = 1 << 20;
  set_batch(run, 32, 1);  // logits of 32 * 32 * 16,384 * 4 bytes = 64 MiB
  const Trace quiet = steps(run, 2);
  std::vector<OutOfMemoryEvent> events;
  auto engine = Engine::create(run, {}, [&](const OutOfMemoryEvent& event) { events.push_back(event); });
  ASSERT_TRUE(engine.ok());
  (*engine)->initialize_weights(11);
  ::malloc_trim(0);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &old), 0);
  const rlimit tight{data_segment_bytes() + (rlim_t{60} << 20), old.rlim_max};
  std::vector<double> losses;
  for (int step = 1; step <= 2; ++step) {
    const std::vector<std::int64_t> batch = starts(run, step);
    ASSERT_EQ(::setrlimit(RLIMIT_DATA, &tight), 0);
    const auto outcome = (*engine)->step({step, 1e-3, {&tokens_, batch}});
    ASSERT_EQ(::setrlimit(RLIMIT_DATA, &old), 0);
    ASSERT_TRUE(outcome.ok()) << outcome.error().what;
    losses.push_back(outcome->loss);
  }
  ASSERT_FALSE(events.empty());
  EXPECT_THAT(events[0].message, HasSubstr("allocate memory"));
  for (std::size_t i = 0; i < 2; ++i) EXPECT_NEAR(losses[i], quiet.losses[i], 1e-5);
}

}  // namespace
}  // namespace vramwise
