// A small run in a folder of its own, for tests.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/files.h"
#include "run/run_spec.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace vramwise {

/// Remembers what it is told.
class RecordingProgress : public ProgressSink {
 public:
  void on_step(const StepReport& report) override { steps.push_back(report); }
  void on_eval(const EvalReport& report) override { evals.push_back(report); }
  void on_note(const std::string& text) override { notes.push_back(text); }
  void on_warning(const std::string& text) override { warnings.push_back(text); }

  std::vector<double> losses() const {
    std::vector<double> all;
    for (const StepReport& report : steps) all.push_back(report.loss);
    return all;
  }

  std::vector<StepReport> steps;
  std::vector<EvalReport> evals;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;
};

/// A folder with train.bin and val.bin (uint16, tokens below 64 with a pattern that can be learnt), and a RunSpec for
/// it.
class SmallRun : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "vramwise_train_XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    ASSERT_TRUE(make_folders(join_path(folder_, "data")).ok());
    write_tokens("train.bin", 20'000, 1);
    write_tokens("val.bin", 2'000, 2);
  }
  void TearDown() override { EXPECT_TRUE(remove_path(folder_).ok()); }

  void write_tokens(const std::string& name, int count, unsigned seed) const {
    std::mt19937 random(seed);
    std::ofstream file(join_path(join_path(folder_, "data"), name), std::ios::binary);
    unsigned token = 0;
    for (int i = 0; i < count; ++i) {
      token = random() % 8 == 0 ? random() % 64 : (token * 5 + 1) % 64;
      const auto word = static_cast<std::uint16_t>(token);
      file.write(reinterpret_cast<const char*>(&word), 2);
    }
  }

  std::string out(const std::string& name) const { return join_path(folder_, name); }

  RunSpec spec(const std::string& out_name = "out") const {
    RunSpec spec;
    spec.model = {.vocab_size = 64,
                  .hidden_size = 32,
                  .n_layers = 2,
                  .n_heads = 4,
                  .n_kv_heads = 2,
                  .head_dim = 8,
                  .intermediate_size = 48};
    spec.step = {.micro_batch = 4, .seq_len = 32, .gradient_accumulation_steps = 2};
    spec.replicas.resize(1);
    spec.replicas[0].micro_batch = 4;
    spec.optimizer.learning_rate = 3e-3;
    spec.optimizer.min_learning_rate = 3e-4;
    spec.optimizer.warmup_steps = 3;
    spec.schedule.max_steps = 8;
    spec.schedule.eval_every = 0;
    spec.schedule.eval_batches = 2;
    spec.schedule.save_every = 0;
    spec.schedule.sample_tokens = 0;
    spec.data.data_dir = join_path(folder_, "data");
    spec.out_dir = out(out_name);
    return spec;
  }

  static void set_batch(RunSpec& spec, std::int64_t micro_batch, std::int64_t accumulation) {
    spec.step.micro_batch = spec.replicas[0].micro_batch = micro_batch;
    spec.step.gradient_accumulation_steps = accumulation;
  }

  std::string folder_;
};

/// The largest difference of two tensors, relative to the largest element.
inline double relative_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

}  // namespace vramwise
