// vramwise-train as a process of its own: signals, exit codes, what it prints where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "train/test_support.h"

namespace vramwise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MainTest : public SmallRun {
 protected:
  /// Starts the trainer with stdout and stderr in files.
  pid_t start(const std::vector<std::string>& words) const {
    const pid_t child = ::fork();
    if (child != 0) return child;
    static_cast<void>(std::freopen(out("stdout").c_str(), "w", stdout));
    static_cast<void>(std::freopen(out("stderr").c_str(), "w", stderr));
    std::vector<char*> arguments = {const_cast<char*>(VRAMWISE_TRAIN_BINARY)};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::execv(VRAMWISE_TRAIN_BINARY, arguments.data());
    ::_exit(99);
  }

  static int exit_code(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  int run(const std::vector<std::string>& words) const { return exit_code(start(words)); }

  std::string write_run(const RunSpec& spec) const {
    EXPECT_TRUE(write_file_atomically(out("run.json"), to_json(spec).dump()).ok());
    return out("run.json");
  }

  std::string printed(const std::string& name) const { return read_file(out(name)).value(); }

  void wait_for(const std::string& path) const {
    for (int i = 0; i < 30'000 && !path_exists(path); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_TRUE(path_exists(path)) << printed("stderr");
  }

  /// Waits until the run has made a step.
  void wait_for_a_step() const {
    for (int i = 0; i < 30'000; ++i) {
      const auto metrics = read_file(out("out/metrics.jsonl"));
      if (metrics.ok() && !metrics->empty()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    FAIL() << "no step was made: " << printed("stderr");
  }
};

TEST_F(MainTest, ResultsGoToStdoutAndTheTalkToStderr) {
  const std::string file = write_run(spec());
  ASSERT_EQ(run({file, "--json"}), 0) << printed("stderr");
  const Json json = Json::parse(printed("stdout"));
  EXPECT_EQ(json.at("steps"), 8);
  EXPECT_THAT(printed("stderr"), AllOf(HasSubstr("step 8/8  loss "), HasSubstr("validation loss")));
}

TEST_F(MainTest, ASignalSavesAndTheExitCodeTellsIt) {
  RunSpec endless = spec();
  endless.schedule.max_steps = 1'000'000;
  for (const int signal_number : {SIGINT, SIGTERM}) {
    const pid_t child = start({write_run(endless)});
    wait_for_a_step();
    ASSERT_EQ(::kill(child, signal_number), 0);
    EXPECT_EQ(exit_code(child), 128 + signal_number) << printed("stderr");
    EXPECT_THAT(printed("stdout"), HasSubstr("Interrupted; go on with --resume."));
    EXPECT_TRUE(path_exists(out("out/latest")));
    EXPECT_TRUE(remove_path(out("out")).ok());
  }
}

TEST_F(MainTest, AKilledRunGoesOnAsIfItHadNeverStopped) {
  RunSpec whole = spec();
  whole.schedule.max_steps = 150;
  whole.schedule.save_every = 2;
  whole.out_dir = out("whole");
  ASSERT_EQ(run({write_run(whole)}), 0) << printed("stderr");
  RunSpec killed = whole;
  killed.out_dir = out("out");
  const pid_t child = start({write_run(killed)});
  wait_for(out("out/latest"));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(exit_code(child), -SIGKILL) << "it was over before it could be killed";
  killed.resume = true;
  ASSERT_EQ(run({write_run(killed)}), 0) << printed("stderr");
  EXPECT_THAT(printed("stderr"), HasSubstr("going on from "));
  for (const char* file : {"step-000150/model.safetensors", "step-000150/optimizer.safetensors"}) {
    EXPECT_EQ(printed(join_path("out", file)), printed(join_path("whole", file))) << file;
  }
}

TEST_F(MainTest, ErrorsHaveTheirExitCodes) {
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(run({"--no-such-flag"}), 2);
  EXPECT_THAT(printed("stderr"), HasSubstr("unknown flag --no-such-flag"));
  EXPECT_EQ(run({out("none.json")}), 4);
  EXPECT_THAT(printed("stderr"), HasSubstr("none.json"));
  ASSERT_TRUE(write_file_atomically(out("broken.json"), "{\"model\":").ok());
  EXPECT_EQ(run({out("broken.json")}), 4);
  RunSpec bad = spec();
  bad.replicas[0].device = "cuda:100";
  EXPECT_EQ(run({write_run(bad)}), 4);
  EXPECT_THAT(printed("stderr"), HasSubstr("there is no cuda:100"));
  EXPECT_THAT(printed("stdout"), IsEmpty());
}

}  // namespace
}  // namespace vramwise
