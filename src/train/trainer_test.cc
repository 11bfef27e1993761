#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "io/file_lock.h"
#include "safetensors/reader.h"
#include "train/checkpoint.h"
#include "train/test_support.h"

namespace vramwise {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

class TrainerTest : public SmallRun {
 protected:
  Result<TrainOutcome> run(const RunSpec& spec, const TrainerHooks& hooks = {}) {
    progress_ = RecordingProgress();
    return train(spec, progress_, hooks);
  }

  /// The run ends, saved, after `step`: as by Ctrl-C.
  static TrainerHooks stop_after(const RecordingProgress& progress, std::size_t step) {
    TrainerHooks hooks;
    hooks.stop_signal = [&progress, step] { return progress.steps.size() >= step ? SIGTERM : 0; };
    return hooks;
  }

  std::string content(const std::string& path) const {
    const auto text = read_file(join_path(folder_, path));
    EXPECT_TRUE(text.ok()) << path;
    return text.ok() ? *text : "";
  }

  /// Cuts a file short.
  void damage(const std::string& path, std::uintmax_t bytes) const {
    std::filesystem::resize_file(join_path(folder_, path), bytes);
  }

  RecordingProgress progress_;
};

TEST_F(TrainerTest, LearnsAndLeavesEverything) {
  RunSpec spec = this->spec();
  spec.schedule.max_steps = 60;
  spec.schedule.eval_every = 20;
  spec.schedule.sample_tokens = 40;
  const auto outcome = run(spec);
  ASSERT_TRUE(outcome.ok()) << outcome.error().what;
  EXPECT_EQ(outcome->steps, 60);
  EXPECT_EQ(progress_.evals.size(), 3U);
  EXPECT_LT(progress_.evals.back().val_loss, progress_.evals.front().val_loss);
  EXPECT_LT(*outcome->val_loss, 3.0);  // ln 64 = 4.16
  EXPECT_FALSE(outcome->sample.empty());
  EXPECT_FALSE(outcome->prompt.empty());
  EXPECT_THAT(list_folder(outcome->checkpoint).value(),
              ElementsAre("config.json", "model.safetensors", "optimizer.safetensors", "state.json"));
  EXPECT_EQ(content("out/latest"), "step-000060\n");
  const auto config = Json::parse(content("out/step-000060/config.json"));
  EXPECT_EQ(config.at("model_type"), "llama");
  EXPECT_EQ(config.at("dtype"), "float32");
  // A line a step, and one an evaluation.
  const std::string metrics = content("out/metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 63);
  const Json first = Json::parse(metrics.substr(0, metrics.find('\n')));
  EXPECT_EQ(first.at("step"), 1);
  EXPECT_EQ(first.at("tokens"), 8 * 32);
  EXPECT_EQ(first.at("memory").at(0).at("device"), "cpu");
  ASSERT_FALSE(outcome->memory.empty());
  EXPECT_TRUE(outcome->memory[0].now.has_value());
}

TEST_F(TrainerTest, TheSameSeedGivesTheSameLosses) {
  ASSERT_TRUE(run(spec("a")).ok());
  const std::vector<double> losses = progress_.losses();
  ASSERT_TRUE(run(spec("b")).ok());
  EXPECT_EQ(progress_.losses(), losses);
  RunSpec other = spec("c");
  other.schedule.seed = 5;
  ASSERT_TRUE(run(other).ok());
  EXPECT_NE(progress_.losses(), losses);
}

TEST_F(TrainerTest, ResumingIsExact) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp16}) {
    for (const bool offload : {false, true}) {
      const std::string name = std::string(precision_name(precision)) + (offload ? "-offload" : "");
      RunSpec whole = spec(name + "-whole");
      whole.step.precision = precision;
      whole.step.offload_optimizer = offload;
      ASSERT_TRUE(run(whole).ok());
      const std::vector<double> losses = progress_.losses();

      RunSpec parts = whole;
      parts.out_dir = out(name + "-parts");
      const auto first = run(parts, stop_after(progress_, 3));
      ASSERT_TRUE(first.ok());
      EXPECT_EQ(first->signal, SIGTERM);
      EXPECT_EQ(first->steps, 3);
      EXPECT_FALSE(first->val_loss.has_value());
      parts.resume = true;
      torch::manual_seed(99);  // what happened in between must not matter
      const auto second = run(parts);
      ASSERT_TRUE(second.ok()) << second.error().what;
      EXPECT_EQ(second->steps, 8);
      EXPECT_EQ(progress_.losses(), std::vector<double>(losses.begin() + 3, losses.end())) << name;
      for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
        EXPECT_EQ(content(name + "-parts/step-000008/" + file), content(name + "-whole/step-000008/" + file)) << file;
      }
    }
  }
}

TEST_F(TrainerTest, OffloadCanBeSwitchedBetweenTheParts) {
  ASSERT_TRUE(run(spec("whole")).ok());
  RunSpec parts = spec("parts");
  parts.step.offload_optimizer = true;
  ASSERT_TRUE(run(parts, stop_after(progress_, 3)).ok());
  parts.step.offload_optimizer = false;
  parts.resume = true;
  ASSERT_TRUE(run(parts).ok());
  EXPECT_EQ(content("parts/step-000008/model.safetensors"), content("whole/step-000008/model.safetensors"));
}

TEST_F(TrainerTest, AHalvedMicroBatchIsResumedAndSeesTheSameSequences) {
  ASSERT_TRUE(run(spec("quiet")).ok());
  const std::vector<double> quiet = progress_.losses();
  RunSpec disturbed = spec("disturbed");
  TrainerHooks hooks = stop_after(progress_, 4);
  bool thrown = false;
  hooks.before_micro_batch = [&](const MicroBatchPoint& point) {
    if (point.step == 2 && point.index == 1 && !std::exchange(thrown, true)) throw std::bad_alloc();
  };
  ASSERT_TRUE(run(disturbed, hooks).ok());
  ASSERT_EQ(progress_.warnings.size(), 1U);
  EXPECT_THAT(progress_.warnings[0], HasSubstr("micro-batches of 2 instead of 4"));
  EXPECT_THAT(content("disturbed/metrics.jsonl"), HasSubstr("\"event\":\"out_of_memory\""));
  std::vector<double> losses = progress_.losses();
  disturbed.resume = true;
  hooks = {};
  std::vector<std::int64_t> sizes;
  hooks.before_micro_batch = [&](const MicroBatchPoint& point) { sizes.push_back(point.sequences); };
  ASSERT_TRUE(run(disturbed, hooks).ok());
  EXPECT_EQ(sizes, std::vector<std::int64_t>(16, 2));
  for (const double loss : progress_.losses()) losses.push_back(loss);
  ASSERT_EQ(losses.size(), quiet.size());
  for (std::size_t i = 0; i < quiet.size(); ++i) EXPECT_NEAR(losses[i], quiet[i], 1e-5);
}

TEST_F(TrainerTest, ABrokenCheckpointFallsBackToTheOneBefore) {
  ASSERT_TRUE(run(spec("whole")).ok());
  const std::vector<std::pair<std::string, std::uintmax_t>> damages = {
      {"model.safetensors", 1000}, {"optimizer.safetensors", 0}, {"state.json", 100}};
  for (const auto& [file, bytes] : damages) {
    RunSpec parts = spec("parts-" + file);
    parts.schedule.save_every = 2;
    ASSERT_TRUE(run(parts, stop_after(progress_, 6)).ok());
    const std::string newest = join_path("parts-" + file, "step-000006/" + file);
    damage(newest, bytes);
    parts.resume = true;
    ASSERT_TRUE(run(parts).ok());
    ASSERT_EQ(progress_.warnings.size(), 1U);
    EXPECT_THAT(progress_.warnings[0], AllOf(HasSubstr("step 6 is broken"), HasSubstr(file)));
    EXPECT_EQ(progress_.steps.front().step, 5);
    EXPECT_EQ(content("parts-" + file + "/step-000008/model.safetensors"),
              content("whole/step-000008/model.safetensors"));
    EXPECT_THAT(list_folder(parts.out_dir).value(),
                ElementsAre(".lock", "broken-step-000006", "latest", "metrics.jsonl", "step-000006", "step-000008"));
  }
}

TEST_F(TrainerTest, ASingleChangedBitIsFound) {
  RunSpec parts = spec();
  parts.schedule.save_every = 4;
  ASSERT_TRUE(run(parts).ok());
  std::fstream file(out("out/step-000008/model.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-100, std::ios::end);
  const char byte = static_cast<char>(file.peek());
  file.seekp(-100, std::ios::end);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  parts.resume = true;
  ASSERT_TRUE(run(parts).ok());
  EXPECT_EQ(progress_.steps.front().step, 5);
}

/// Paths of all values in a JSON document that are neither objects nor arrays.
std::vector<std::string> leaves(const Json& json) {
  std::vector<std::string> paths;
  const Json flat = json.flatten();
  for (const auto& [path, value] : flat.items()) paths.push_back(path);
  return paths;
}

TEST_F(TrainerTest, DamageInAnyFieldOfTheStateIsFound) {
  RunSpec parts = spec();
  parts.schedule.save_every = 4;
  ASSERT_TRUE(run(parts).ok());
  const std::string path = out("out/step-000008/state.json");
  const Json whole = Json::parse(content("out/step-000008/state.json"));
  const auto write = [&](const Json& state) { std::ofstream(path) << state.dump(2); };
  parts.resume = true;
  ASSERT_GT(leaves(whole).size(), 40U);
  for (const std::string& leaf : leaves(whole)) {
    Json damaged = whole;
    Json& value = damaged[Json::json_pointer(leaf)];
    if (value.is_string()) {
      std::string text = value.get<std::string>();
      text.empty() ? text.push_back('0') : text.pop_back();
      value = text;
    } else if (value.is_boolean()) {
      value = !value.get<bool>();
    } else {
      value = value.is_number() ? Json(value.get<double>() + 1) : Json(1);
    }
    write(damaged);
    const auto found = find_checkpoint(parts);
    ASSERT_TRUE(found.ok()) << leaf << ": " << found.error().what;
    ASSERT_TRUE(found->found) << leaf;
    EXPECT_EQ(found->found->state.step, 4) << leaf;
    EXPECT_EQ(found->warnings.size(), 1U) << leaf;
    ASSERT_TRUE(rename_path(out("out/broken-step-000008"), out("out/step-000008")).ok()) << leaf;
  }
  write(whole);
  EXPECT_EQ(find_checkpoint(parts)->found->state.step, 8);
}

/// A state of the first format has no seal: its random states are looked at all the same.
TEST_F(TrainerTest, AShortenedRandomStateIsABrokenCheckpoint) {
  RunSpec parts = spec();
  parts.schedule.save_every = 4;
  ASSERT_TRUE(run(parts).ok());
  Json old = Json::parse(content("out/step-000008/state.json"));
  old["format"] = 1;
  old.erase("seal");
  old.erase("run");
  const std::string path = out("out/step-000008/state.json");
  parts.resume = true;
  std::ofstream(path) << old.dump(2);
  EXPECT_EQ(find_checkpoint(parts)->found->state.step, 8);
  const auto hex = old.at("random_state").at("cpu").get<std::string>();
  old["random_state"]["cpu"] = hex.substr(0, hex.size() / 2);
  std::ofstream(path) << old.dump(2);
  ASSERT_TRUE(run(parts).ok());
  EXPECT_THAT(progress_.warnings.at(0), AllOf(HasSubstr("step 8 is broken"), HasSubstr("random states")));
  EXPECT_EQ(progress_.steps.front().step, 5);
}

TEST_F(TrainerTest, TheEvaluationDoesNotHangOnTheMicroBatch) {
  std::vector<double> losses;
  for (const std::int64_t micro_batch : {1, 4, 8}) {
    RunSpec one = spec("eval-" + std::to_string(micro_batch));
    write_tokens("val.bin", 20'000, 2);
    one.schedule.max_steps = 1;
    one.schedule.eval_batches = 1;
    set_batch(one, micro_batch, 8 / micro_batch);
    losses.push_back(*run(one)->val_loss);
    EXPECT_EQ(progress_.evals.at(0).tokens, kEvalBatchTokens);
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-6);
  EXPECT_NEAR(losses[0], losses[2], 1e-6);
}

TEST_F(TrainerTest, ASignalWithinAStepSavesTheLastWholeOne) {
  ASSERT_TRUE(run(spec("whole")).ok());
  RunSpec parts = spec("parts");
  int signal = 0;
  TrainerHooks hooks;
  hooks.before_micro_batch = [&](const MicroBatchPoint& point) {
    if (point.step == 3 && point.index == 0) signal = SIGINT;
  };
  hooks.stop_signal = [&] { return signal; };
  const auto first = run(parts, hooks);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->signal, SIGINT);
  EXPECT_EQ(first->steps, 2);
  EXPECT_EQ(content("parts/latest"), "step-000002\n");
  parts.resume = true;
  ASSERT_TRUE(run(parts).ok());
  EXPECT_EQ(content("parts/step-000008/model.safetensors"), content("whole/step-000008/model.safetensors"));
}

TEST_F(TrainerTest, ASignalWithinTheEvaluationEndsIt) {
  RunSpec parts = spec();
  parts.schedule.eval_every = 4;
  int signal = 0;
  TrainerHooks hooks;
  hooks.before_eval_batch = [&](const MicroBatchPoint& point) { signal = point.index == 1 ? SIGTERM : 0; };
  hooks.stop_signal = [&] { return signal; };
  const auto first = run(parts, hooks);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->signal, SIGTERM);
  EXPECT_EQ(first->steps, 4);
  EXPECT_TRUE(progress_.evals.empty());
  EXPECT_EQ(content("out/latest"), "step-000004\n");
}

TEST_F(TrainerTest, AnotherSequenceLengthKeepsThePositionInTokens) {
  RunSpec parts = spec();
  ASSERT_TRUE(run(parts, stop_after(progress_, 3)).ok());  // 3 steps of 8 sequences of 32 tokens
  parts.resume = true;
  parts.step.seq_len = 20;
  parts.schedule.max_steps = 4;
  ASSERT_TRUE(run(parts).ok());
  EXPECT_THAT(progress_.warnings.at(0), HasSubstr("the 768 tokens seen so far count as 39 sequences"));
  const Json state = Json::parse(content("out/step-000004/state.json"));
  EXPECT_EQ(state.at("sequences"), 39 + 8);
}

TEST_F(TrainerTest, WhenNoneIsWholeItSaysSo) {
  RunSpec parts = spec();
  ASSERT_TRUE(run(parts).ok());
  damage("out/step-000008/state.json", 1);
  parts.resume = true;
  const auto outcome = run(parts);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("is whole"));
}

TEST_F(TrainerTest, TheLastTwoCheckpointsAreKept) {
  RunSpec spec = this->spec();
  spec.schedule.save_every = 2;
  ASSERT_TRUE(run(spec).ok());
  EXPECT_THAT(list_folder(spec.out_dir).value(),
              ElementsAre(".lock", "latest", "metrics.jsonl", "step-000006", "step-000008"));
}

TEST_F(TrainerTest, ADiskThatTakesNoMoreEndsTheRunAndKeepsTheOlderCheckpoint) {
  RunSpec spec = this->spec();
  spec.schedule.save_every = 4;
  // A limit on the size of files stands for the full disk: the write of the model fails half-way.
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  TrainerHooks hooks;
  hooks.after_gradients = [&](std::int64_t step, const torch::Tensor&) {
    const rlimit limit{20'000, old.rlim_max};
    if (step == 7) ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  const auto outcome = run(spec, hooks);
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, AllOf(HasSubstr("cannot write"), HasSubstr("model.safetensors")));
  EXPECT_THAT(list_folder(spec.out_dir).value(), ElementsAre(".lock", "latest", "metrics.jsonl", "step-000004"));
  spec.resume = true;
  ASSERT_TRUE(run(spec).ok());
  EXPECT_TRUE(progress_.warnings.empty());
  EXPECT_EQ(progress_.steps.front().step, 5);
}

TEST_F(TrainerTest, AFolderThatCannotBeMadeIsAnError) {
  ASSERT_TRUE(write_file_atomically(out("file"), "x").ok());
  const auto outcome = run(spec("file/out"));
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("file/out"));
}

TEST_F(TrainerTest, OneRunAtATimeInAFolder) {
  ASSERT_TRUE(make_folders(out("out")).ok());
  const auto lock = FileLock::acquire(out("out/.lock"), "x");
  ASSERT_TRUE(lock.ok());
  const auto outcome = run(spec());
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("still going on (process "));
}

TEST_F(TrainerTest, NothingIsOverwrittenAndNothingIsMadeUp) {
  RunSpec spec = this->spec();
  spec.resume = true;
  auto outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("no checkpoint"));
  spec.resume = false;
  ASSERT_TRUE(run(spec).ok());
  outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kUsage);
  EXPECT_THAT(outcome.error().remedy, HasSubstr("--resume"));
}

TEST_F(TrainerTest, ACheckpointOfAnotherModelIsRefusedAndLeftAlone) {
  RunSpec spec = this->spec();
  ASSERT_TRUE(run(spec).ok());
  spec.resume = true;
  spec.model.n_layers = 3;
  auto outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kUsage);
  EXPECT_THAT(outcome.error().what, HasSubstr("other dimensions"));
  spec.model.n_layers = 2;
  spec.step.precision = Precision::kBf16;
  outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().what, HasSubstr("fp32, not in bf16"));
  EXPECT_TRUE(path_exists(out("out/step-000008/state.json")));
}

TEST_F(TrainerTest, AFinishedRunResumesToNothingAndALongerOneGoesOn) {
  RunSpec spec = this->spec();
  ASSERT_TRUE(run(spec).ok());
  spec.resume = true;
  const auto again = run(spec);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(progress_.steps.empty());
  EXPECT_TRUE(again->val_loss.has_value());
  EXPECT_THAT(again->checkpoint, HasSubstr("step-000008"));
  spec.schedule.max_steps = 10;
  ASSERT_TRUE(run(spec).ok());
  EXPECT_EQ(progress_.steps.size(), 2U);
}

TEST_F(TrainerTest, BeginsWithGivenWeights) {
  RunSpec spec = this->spec("first");
  ASSERT_TRUE(run(spec).ok());
  const double reached = *run([&] {
                            RunSpec next = this->spec("second");
                            next.init_from = out("first/step-000008");
                            next.schedule.max_steps = 1;
                            next.optimizer.learning_rate = 1e-12;
                            return next;
                          }())
                              ->val_loss;
  spec.resume = true;
  EXPECT_NEAR(reached, *run(spec)->val_loss, 1e-5);
  RunSpec wrong = this->spec("third");
  wrong.init_from = out("first/step-000008/model.safetensors");
  wrong.model.intermediate_size = 64;
  const auto outcome = run(wrong);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().what, HasSubstr("(64, 32) was expected"));
}

TEST_F(TrainerTest, EndsEarlyAtTheLossThatWasAskedFor) {
  RunSpec spec = this->spec();
  spec.schedule.eval_every = 2;
  spec.schedule.stop_at_val_loss = 100.0;
  const auto outcome = run(spec);
  ASSERT_TRUE(outcome.ok());
  EXPECT_TRUE(outcome->reached_target);
  EXPECT_EQ(outcome->steps, 2);
  EXPECT_EQ(content("out/latest"), "step-000002\n");
}

TEST_F(TrainerTest, LeftoversOfAKilledRunAreRemoved) {
  ASSERT_TRUE(make_folders(out("out/.unfinished-step-000004-123")).ok());
  ASSERT_TRUE(run(spec()).ok());
  EXPECT_FALSE(path_exists(out("out/.unfinished-step-000004-123")));
}

TEST_F(TrainerTest, BadDataAndDevicesAreRefusedBeforeAnythingIsMade) {
  RunSpec spec = this->spec();
  spec.data.data_dir = out("nowhere");
  auto outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  spec = this->spec();
  spec.model.vocab_size = 32;
  outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_FALSE(path_exists(spec.out_dir));
  spec = this->spec();
  spec.replicas[0].device = "cuda:120";
  outcome = run(spec);
  ASSERT_FALSE(outcome.ok());
  EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
  EXPECT_THAT(outcome.error().what, HasSubstr("cuda:120"));
}

TEST_F(TrainerTest, ATokenFileCutShortDuringTheRunEndsItWithAMessage) {
  for (const std::string name : {"train.bin", "val.bin"}) {
    write_tokens("train.bin", 20'000, 1);
    write_tokens("val.bin", 2'000, 2);
    RunSpec spec = this->spec("cut_" + name);
    spec.schedule.save_every = 2;
    const std::string path = join_path(spec.data.data_dir, name);
    TrainerHooks hooks;
    hooks.after_gradients = [&](std::int64_t step, const torch::Tensor&) {
      if (step == 4) std::filesystem::resize_file(path, 64);
    };
    const auto outcome = run(spec, hooks);
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().code, ErrorCode::kWorld);
    EXPECT_THAT(outcome.error().what, HasSubstr(path + " was cut short while it was in use"));
    write_tokens("train.bin", 20'000, 1);
    write_tokens("val.bin", 2'000, 2);
    spec.resume = true;
    EXPECT_EQ(run(spec).value().steps, 8) << "it goes on from its last checkpoint";
  }
}

TEST_F(TrainerTest, TwoReplicasTrainAndResumeLikeOne) {
  RunSpec one = spec("one");
  set_batch(one, 5, 2);
  ASSERT_TRUE(run(one).ok());
  const std::vector<double> losses = progress_.losses();
  RunSpec two = spec("two");
  two.replicas = {{.device = "cpu", .micro_batch = 3}, {.device = "cpu", .micro_batch = 2}};
  ASSERT_TRUE(run(two, stop_after(progress_, 4)).ok());
  std::vector<double> parts = progress_.losses();
  two.resume = true;
  ASSERT_TRUE(run(two).ok());
  for (const double loss : progress_.losses()) parts.push_back(loss);
  ASSERT_EQ(parts.size(), losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(parts[i], losses[i], 1e-5);
}

}  // namespace
}  // namespace vramwise
