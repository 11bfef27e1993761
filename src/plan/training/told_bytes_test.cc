// What a search refuses a candidate for before it is traced must be a bound. Of models with unlike layers no search
// looks whether it is, and of DeepSpeed's engine only where a candidate is traced: so drawn candidates are replayed
// here.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

#include "plan/training/judge.h"
#include "plan/training/knobs.h"
#include "plan/training/test_support.h"

namespace vramwise {
namespace {

// With alike layers; in turn with and without positions (stage 3 is known for it); with a window in five of six.
constexpr const char* kFamilies[] = {
    R"("model_type": "llama")", R"("model_type": "smollm3", "no_rope_layer_interval": 2)",
    R"("model_type": "gemma3_text", "head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": 128)"};

class Draw {
 public:
  Draw() : seed_(std::random_device{}()), random_(seed_) {}
  unsigned seed() const { return seed_; }
  int number(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  std::string config() {
    return fmt::format(
        R"({{{}, "vocab_size": {}, "hidden_size": {}, "num_hidden_layers": {}, "num_attention_heads": 4,
        "num_key_value_heads": {}, "intermediate_size": {}, "tie_word_embeddings": {},
        "max_position_embeddings": 4096}})",
        kFamilies[number(0, 2)], number(900, 9000), 64 * number(2, 9), number(1, 7), number(0, 1) == 0 ? 2 : 4,
        64 * number(2, 20), number(0, 1) == 0);
  }

  TrainingRequest request(int cards) {
    TrainingRequest request = request_for(Bytes::gib(80), Trainer::kDeepSpeed, cards);
    take_model(request, config());
    if (number(0, 3) == 0) request.shorter.clear();
    request.sequences = std::int64_t{cards} * number(1, 6);
    TrainingSettings& start = request.start.settings;
    start.seq_len = std::int64_t{32} * number(2, 24);
    constexpr TrainingPrecision kPrecisions[] = {TrainingPrecision::kFp32, TrainingPrecision::kBf16,
                                                 TrainingPrecision::kFp16};
    start.precision = kPrecisions[number(0, 2)];
    start.parallel.deepspeed.reduce_bucket_size = number(1'000, 5'000'000);
    if (number(0, 1) == 0) request.fixed.emplace_back("bucket");
    return request;
  }

  /// Of those with that stage that can be estimated; none where there is none.
  std::optional<TrainingCandidate> candidate(const TrainingSpace& space, TrainingJudge& judge, int stage) {
    std::vector<std::size_t> options;
    for (std::size_t i = 0; i < space.options.size(); ++i)
      if (space.options[i].settings.parallel.deepspeed.stage == stage) options.push_back(i);
    if (options.empty()) return std::nullopt;
    const std::size_t option = options[static_cast<std::size_t>(number(0, static_cast<int>(options.size()) - 1))];
    if (!judge.is_possible(option)) return std::nullopt;
    return TrainingCandidate{
        .option = option, .micro_batch = one_of(space.micro_batches), .recomputed = one_of(space.recomputed)};
  }

 private:
  template <typename T>
  T one_of(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(number(0, static_cast<int>(values.size()) - 1))];
  }

  unsigned seed_;
  std::mt19937 random_;
};

void expect_bound(const TrainingRequest& request, TrainingJudge& judge, const TrainingCandidate& candidate) {
  const TrainingConfiguration c = judge.configuration(candidate);
  const auto whole = estimate_training(request.model, c.settings, request.card_for(c.settings), c.allocator);
  ASSERT_TRUE(whole.ok()) << whole.error().what;
  EXPECT_LE(judge.told_bytes(candidate), static_cast<double>(whole->device.count()))
      << fmt::format("{} of {} layers, stage {} on {} cards, {} x {} tokens, {} recomputed", request.model.model_type,
                     request.model.architecture.layers, c.settings.parallel.deepspeed.stage, request.cards,
                     candidate.micro_batch, c.settings.seq_len, candidate.recomputed);
}

TEST(TrainingToldBytes, AreNeverMoreThanAReplayReservesUnderZero) {
  Draw draw;
  SCOPED_TRACE(fmt::format("seed {}", draw.seed()));
  int compared = 0;
  for (const int cards : {1, 2, 8, 1, 2, 8}) {
    const TrainingRequest request = draw.request(cards);
    const TrainingSpace space = training_space(request).value();
    TrainingJudge judge(request, space);
    for (const int stage : {1, 2, 3}) {
      const std::optional<TrainingCandidate> candidate = draw.candidate(space, judge, stage);
      if (!candidate) continue;
      ++compared;
      expect_bound(request, judge, *candidate);
    }
  }
  EXPECT_GE(compared, 12);
}

// The bucket comes when the logits and their gradient have gone, which here are more than all that comes later.
TEST(TrainingToldBytes, TheBucketIsNotBesideTheGradientOfTheLogits) {
  TrainingRequest request = request_for(Bytes::gib(80), Trainer::kDeepSpeed, 8);
  take_model(request, R"({"model_type": "llama", "vocab_size": 16000, "hidden_size": 128, "num_hidden_layers": 6,
      "num_attention_heads": 4, "intermediate_size": 320, "max_position_embeddings": 4096})");
  request.sequences = 48;
  request.fixed = {"attention", "checkpointing", "optimizer", "segments"};
  request.start.settings.seq_len = 192;
  request.start.settings.precision = TrainingPrecision::kFp32;
  const TrainingSpace space = training_space(request).value();
  TrainingJudge judge(request, space);
  for (std::size_t option = 0; option < space.options.size(); ++option) {
    if (space.options[option].settings.parallel.deepspeed.stage < 3 && judge.is_possible(option))
      expect_bound(request, judge, {.option = option, .micro_batch = 6, .recomputed = 1});
  }
}

}  // namespace
}  // namespace vramwise
