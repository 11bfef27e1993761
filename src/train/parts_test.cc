#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <new>
#include <set>
#include <sstream>

#include "train/batch_order.h"
#include "train/devices.h"
#include "train/flat_parameters.h"
#include "train/interrupt.h"
#include "train/loss_scaler.h"
#include "train/lr_schedule.h"
#include "train/metrics_log.h"
#include "train/out_of_memory.h"
#include "train/progress.h"
#include "train/random_state.h"
#include "train/test_support.h"
#include "train/worker_threads.h"

namespace vramwise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LearningRate, WarmsUpThenFallsAlongACosine) {
  const OptimizerSpec o{.learning_rate = 1.0, .min_learning_rate = 0.1, .warmup_steps = 10};
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 110, 1), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 110, 10), 1.0);
  EXPECT_NEAR(learning_rate_at(o, 110, 60), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_at(o, 110, 110), 0.1, 1e-12);
  EXPECT_NEAR(learning_rate_at(o, 110, 500), 0.1, 1e-12);
  // A run shorter than its warm-up, and one without.
  EXPECT_DOUBLE_EQ(learning_rate_at(o, 5, 5), 0.5);
  const OptimizerSpec none{.learning_rate = 1.0, .min_learning_rate = 0.0, .warmup_steps = 0};
  EXPECT_NEAR(learning_rate_at(none, 2, 1), 0.5, 1e-12);
}

TEST(Scaler, HalvesOnOverflowAndDoublesAfterGoodSteps) {
  LossScaler scaler(Precision::kFp16);
  EXPECT_EQ(scaler.scale(), 65536);
  EXPECT_TRUE(scaler.update(true));
  EXPECT_EQ(scaler.scale(), 32768);
  for (int i = 0; i < 1999; ++i) scaler.update(false);
  EXPECT_EQ(scaler.scale(), 32768);
  LossScaler copy(Precision::kFp16);
  ASSERT_TRUE(copy.restore(scaler.to_json()).ok());
  copy.update(false);
  EXPECT_EQ(copy.scale(), 65536);
}

TEST(Scaler, GivesUpAfterManySkippedStepsAndScalesOnlyFp16) {
  LossScaler scaler(Precision::kBf16);
  for (int i = 1; i < LossScaler::kMostSkipped; ++i) EXPECT_TRUE(scaler.update(true));
  EXPECT_FALSE(scaler.update(true));
  EXPECT_EQ(scaler.scale(), 1);
}

TEST(Order, AnEpochVisitsEveryWindowOnce) {
  for (const std::int64_t tokens : {33, 40, 65, 100, 1000, 4097}) {
    const std::int64_t length = 32;
    const BatchOrder order(tokens, length, 7);
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::set<std::int64_t> starts;
      for (std::int64_t i = 0; i < order.sequences_per_epoch(); ++i) {
        const std::int64_t start = order.start_of(epoch * order.sequences_per_epoch() + i);
        EXPECT_GE(start, 0);
        EXPECT_LE(start + length + 1, tokens);
        starts.insert(start);
      }
      ASSERT_EQ(static_cast<std::int64_t>(starts.size()), order.sequences_per_epoch());
      std::int64_t last = -length;
      for (const std::int64_t start : starts) {
        EXPECT_GE(start - last, length) << "windows overlap";
        last = start;
      }
    }
  }
}

TEST(Order, EpochsAndSeedsDiffer) {
  const BatchOrder one(100'000, 32, 1);
  const BatchOrder other(100'000, 32, 2);
  const std::int64_t epoch = one.sequences_per_epoch();
  int same_seed = 0;
  int same_epoch = 0;
  for (std::int64_t i = 0; i < 100; ++i) {
    same_seed += one.start_of(i) == other.start_of(i);
    same_epoch += one.start_of(i) == one.start_of(epoch + i);
  }
  EXPECT_LT(same_seed, 5);
  EXPECT_LT(same_epoch, 5);
}

TEST(Order, ValidationIsSpreadEvenly) {
  EXPECT_THAT(validation_starts(101, 10, 5), ElementsAre(0, 20, 40, 60, 80));
  EXPECT_EQ(validation_starts(101, 10, 50).size(), 10U);
  EXPECT_THAT(validation_starts(11, 10, 3), ElementsAre(0));
}

TEST(Order, MicroBatchesAreAsEqualAsPossible) {
  EXPECT_THAT(split_into_micro_batches(16, 2), ElementsAre(2, 2, 2, 2, 2, 2, 2, 2));
  EXPECT_THAT(split_into_micro_batches(15, 7), ElementsAre(5, 5, 5));
  EXPECT_THAT(split_into_micro_batches(7, 3), ElementsAre(3, 2, 2));
  EXPECT_TRUE(split_into_micro_batches(0, 3).empty());
}

TEST(Flat, ViewsShareTheBufferAndDecayComesFirst) {
  const DecoderConfig config = {.vocab_size = 10,
                                .hidden_size = 6,
                                .n_layers = 1,
                                .n_heads = 1,
                                .n_kv_heads = 1,
                                .head_dim = 6,
                                .intermediate_size = 5};
  const FlatLayout layout(config);
  const torch::Tensor flat = make_flat(layout, torch::kFloat, torch::kCPU);
  const std::vector<torch::Tensor> views = layout.views(flat);
  const std::vector<ParameterShape> shapes = parameters(config);
  ASSERT_EQ(views.size(), shapes.size());
  double sum = 0;
  for (std::size_t i = 0; i < views.size(); ++i) {
    EXPECT_EQ(layout.slots()[i].name, shapes[i].name);
    EXPECT_EQ(layout.slots()[i].offset % 64, 0);
    EXPECT_EQ(layout.slots()[i].offset < layout.decayed(), shapes[i].decays);
    views[i].fill_(static_cast<double>(i + 1));
    sum += static_cast<double>((i + 1) * static_cast<std::size_t>(views[i].numel()));
  }
  EXPECT_EQ(flat.sum().item<double>(), sum);
}

TEST(Flat, TheNormIsThatOfAllElementsAndSeesAnInfinity) {
  torch::Tensor flat = torch::randn({(1 << 22) + 12345}, torch::kFloat);
  EXPECT_NEAR(flat_norm(flat) / flat.to(torch::kDouble).norm().item<double>(), 1.0, 1e-6);
  EXPECT_NEAR(flat_norm(flat.narrow(0, 0, 100)), flat.narrow(0, 0, 100).norm().item<double>(), 1e-4);
  flat[5] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(flat_norm(flat)));
  flat[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(flat_norm(flat)));
}

template <typename E>
bool recognised(const E& error) {
  return is_out_of_memory(std::make_exception_ptr(error));
}

TEST(OutOfMemory, IsRecognisedInAllItsForms) {
  EXPECT_TRUE(recognised(std::bad_alloc()));
  EXPECT_TRUE(recognised(c10::OutOfMemoryError({__func__, __FILE__, 1}, "CUDA out of memory. Tried to allocate")));
  for (const char* text :
       {"DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "HIP error: hipErrorOutOfMemory"}) {
    EXPECT_TRUE(recognised(c10::Error({__func__, __FILE__, 1}, text))) << text;
  }
  EXPECT_FALSE(recognised(c10::Error({__func__, __FILE__, 1}, "mat1 and mat2 shapes cannot be multiplied")));
  EXPECT_FALSE(recognised(std::runtime_error("no")));
}

TEST(OutOfMemory, TheRealAllocatorIsRecognised) {
  try {
    const torch::Tensor huge = torch::empty({std::int64_t{1} << 55}, torch::kFloat);
    FAIL() << "2^57 bytes were allocated";
  } catch (const std::exception&) {
    const std::exception_ptr failure = std::current_exception();
    EXPECT_TRUE(is_out_of_memory(failure)) << describe_exception(failure);
  }
}

TEST(Workers, RunAllAtOnceAndHandBackWhatTheyThrow) {
  WorkerThreads workers(3);
  for (int round = 0; round < 50; ++round) {
    std::vector<int> done(3);
    const auto thrown = workers.run([&](std::size_t i) {
      done[i] = 1;
      if (i == 1) throw std::runtime_error("one");
    });
    EXPECT_THAT(done, ElementsAre(1, 1, 1));
    ASSERT_EQ(thrown.size(), 3U);
    EXPECT_FALSE(thrown[0]);
    EXPECT_EQ(describe_exception(thrown[1]), "one");
  }
  WorkerThreads single(1);
  const std::thread::id here = std::this_thread::get_id();
  single.run([&](std::size_t) { EXPECT_EQ(std::this_thread::get_id(), here); });
}

TEST(Devices, AreCheckedByName) {
  EXPECT_TRUE(open_device("cpu").ok());
  EXPECT_EQ(open_device("gpu").error().code, ErrorCode::kUsage);
  EXPECT_EQ(open_device("cuda:").error().code, ErrorCode::kUsage);
  const auto absent = open_device("cuda:120");
  ASSERT_FALSE(absent.ok());
  EXPECT_EQ(absent.error().code, ErrorCode::kWorld);
  EXPECT_THAT(absent.error().what, HasSubstr("no cuda:120"));
}

TEST(Interrupts, TheFirstSignalIsRemembered) {
  const Interrupt interrupt;
  EXPECT_EQ(Interrupt::signal_received(), 0);
  ASSERT_EQ(std::raise(SIGTERM), 0);
  EXPECT_EQ(Interrupt::signal_received(), SIGTERM);
}

TEST(InterruptsDeathTest, TheSecondSignalEndsAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const Interrupt interrupt;
        std::raise(SIGINT);
        std::raise(SIGINT);
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(130), "");
}

TEST(Random, StatesAreRepeatedExactly) {
  const std::vector<ReplicaSpec> replicas(1);
  torch::manual_seed(5);
  static_cast<void>(torch::rand({3}));
  const Json saved = RandomState::capture(replicas).to_json();
  const torch::Tensor drawn = torch::rand({100});
  const auto state = RandomState::from_json(Json::parse(saved.dump()));
  ASSERT_TRUE(state.ok());
  state->restore();
  EXPECT_TRUE(torch::rand({100}).equal(drawn));
  EXPECT_FALSE(RandomState::from_json({{"cpu", "zz"}}).ok());
  EXPECT_FALSE(RandomState::from_json({{"tpu", "00"}}).ok());
}

class Metrics : public SmallRun {};

TEST_F(Metrics, ContinuesAfterTheStepThatWasSaved) {
  const std::string path = out("metrics.jsonl");
  {
    auto log = MetricsLog::open(path, 0);
    ASSERT_TRUE(log.ok());
    for (int step = 1; step <= 5; ++step) ASSERT_TRUE(log->append({{"step", step}, {"loss", 1.5}}).ok());
  }
  {
    std::ofstream cut_off(path, std::ios::app);
    cut_off << "{\"step\":6,\"lo";
  }
  {
    auto log = MetricsLog::open(path, 3);
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE(log->append({{"step", 4}, {"loss", std::nan("")}}).ok());
  }
  EXPECT_EQ(read_file(path).value(),
            "{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":1.5}\n{\"step\":3,\"loss\":1.5}\n"
            "{\"step\":4,\"loss\":null}\n");
}

StepReport sample_report() {
  StepReport report;
  report.step = 20;
  report.max_steps = 100;
  report.loss = 1.5;
  report.learning_rate = 3e-4;
  report.tokens_per_s = 1234.0;
  report.seconds_left = 185.0;
  report.memory = {{"cpu", Bytes::mib(512), Bytes::mib(1024), Bytes::mib(1280)}};
  return report;
}

TEST(Progress, LinesComeWhenTheyAreDue) {
  std::ostringstream text;
  LineProgress progress(text, 10);
  StepReport report = sample_report();
  progress.on_step(report);
  EXPECT_EQ(text.str(),
            "step 20/100  loss 1.5000  1234 tok/s  3m 05s left  mem 0.50 GiB (peak 1.00, planned 1.25)  lr 3.00e-04\n");
  report.step = 21;
  progress.on_step(report);
  EXPECT_THAT(text.str(), ::testing::Not(HasSubstr("21/100")));
  report.memory = {{"cpu", Bytes::mib(40), Bytes::mib(60), Bytes::mib(64)}};
  report.skipped = true;
  progress.on_step(report);
  EXPECT_THAT(text.str(), HasSubstr("mem 40 MiB (peak 60, planned 64)"));
  EXPECT_THAT(text.str(), HasSubstr("step 21/100  loss 1.5000 (skipped)"));
  progress.on_eval({30, std::log(2.0), 640});
  EXPECT_THAT(text.str(), HasSubstr("step 30  validation loss 0.6931  (perplexity 2.00, 640 tokens)\n"));
}

TEST(Progress, TheBarTakesWhatTheTerminalLeavesAndNotesStayAbove) {
  std::ostringstream text;
  {
    BarProgress progress(text, 80);
    progress.on_step(sample_report());
    progress.on_note("saved");
  }
  const std::string bar = "[##...........] 20/100  loss 1.5000  1234 tok/s  3m 05s left  mem 0.50/1.25 GiB";
  EXPECT_EQ(bar.size(), 79U);
  EXPECT_EQ(text.str(), "\r\x1b[K" + bar + "\r\x1b[Ksaved\n" + bar + "\n");
}

TEST(Progress, ABarNeverWraps) {
  for (const int columns : {1, 10, 40, 60, 200}) {
    std::ostringstream text;
    BarProgress(text, columns).on_step(sample_report());
    EXPECT_LE(static_cast<int>(text.str().size()), std::max(columns, 1) + 4) << columns;
  }
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(42.4), "42s");
  EXPECT_EQ(format_duration(3725), "1h 02m");
  EXPECT_EQ(format_duration(90000), "1d 01h");
}

}  // namespace
}  // namespace vramwise
