#include "run/checkpoint_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "io/files.h"
#include "io/sealed_json.h"
#include "run/output_names.h"

namespace vramwise {
namespace {

using ::testing::HasSubstr;

class CheckpointState : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "vramwise_state_XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
    run_.model = model_preset("tiny").value();
    run_.replicas.resize(1);
    run_.step.seq_len = 96;
    run_.effective_batch = 5;
  }
  void TearDown() override { EXPECT_TRUE(remove_path(folder_).ok()); }

  void write_state(std::int64_t step, const Json& state) const {
    const std::string folder = join_path(folder_, checkpoint_folder_name(step));
    ASSERT_TRUE(make_folders(folder).ok());
    ASSERT_TRUE(write_file_atomically(join_path(folder, kStateFileName), state.dump(2)).ok());
  }

  Json state(std::int64_t step) const {
    return {{"format", kStateFormat}, {"step", step}, {"sequences", 5 * step}, {"run", to_json(run_)}};
  }

  std::string folder_;
  RunSpec run_;
};

TEST_F(CheckpointState, TheNewestSoundOneTellsTheRun) {
  write_state(2, seal_json(state(2)));
  write_state(4, state(4));  // not sealed
  const auto earlier = find_earlier_run(folder_);
  ASSERT_TRUE(earlier.ok()) << earlier.error().what;
  EXPECT_EQ(earlier->step, 2);
  EXPECT_EQ(earlier->sequences, 10);
  EXPECT_EQ(earlier->run, run_);
  EXPECT_TRUE(earlier->is_sealed);
}

TEST_F(CheckpointState, AStateOfTheFirstFormatTakesItsRunFromRunJson) {
  write_state(3, {{"format", 1}, {"step", 3}, {"sequences", 15}});
  EXPECT_FALSE(find_earlier_run(folder_).ok());
  Json old_run = to_json(run_);
  old_run.erase("effective_batch");
  ASSERT_TRUE(write_file_atomically(join_path(folder_, kRunFileName), old_run.dump()).ok());
  const auto earlier = find_earlier_run(folder_);
  ASSERT_TRUE(earlier.ok()) << earlier.error().what;
  EXPECT_EQ(earlier->run.step.seq_len, 96);
  EXPECT_EQ(earlier->run.effective_batch_size(), 1);
  EXPECT_FALSE(earlier->is_sealed);
}

TEST_F(CheckpointState, EveryByteThatChangesAValueIsFound) {
  const std::string text = seal_json(state(7)).dump();
  const std::string folder = join_path(folder_, checkpoint_folder_name(7));
  ASSERT_TRUE(make_folders(folder).ok());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    std::ofstream(join_path(folder, kStateFileName)) << damaged;  // not synced: there are a thousand
    EXPECT_FALSE(read_checkpoint_state(folder).ok()) << i << ": " << damaged.substr(i, 20);
  }
  ASSERT_TRUE(write_file_atomically(join_path(folder, kStateFileName), text).ok());
  EXPECT_TRUE(read_checkpoint_state(folder).ok());
}

TEST_F(CheckpointState, OneFromALaterVersionIsNotCalledBroken) {
  Json later = state(9);
  later["format"] = kStateFormat + 1;
  write_state(9, seal_json(later));
  const auto earlier = find_earlier_run(folder_);
  ASSERT_FALSE(earlier.ok());
  EXPECT_EQ(earlier.error().code, ErrorCode::kUsage);
  EXPECT_THAT(earlier.error().what, HasSubstr("later version"));
}

TEST_F(CheckpointState, NamesOfFolders) {
  EXPECT_EQ(checkpoint_folder_name(100), "step-000100");
  EXPECT_EQ(checkpoint_step("step-000100"), 100);
  EXPECT_EQ(checkpoint_step("step-1234567"), 1234567);
  EXPECT_EQ(checkpoint_step("step-100"), std::nullopt);
  EXPECT_EQ(checkpoint_step("broken-step-000100"), std::nullopt);
}

}  // namespace
}  // namespace vramwise
