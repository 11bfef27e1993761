#include "tape/parallel/zero3.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "allocator/replay.h"
#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"

namespace vramwise::tape {
namespace {

using ::testing::ElementsAre;

constexpr int kRanks = 4;
constexpr std::int64_t kWidth = 64;

// Square layers without biases one after the other, and what each rank takes of them.
class Stack {
 public:
  explicit Stack(const DeepSpeedOptions& options, int layers = 4) : tape_(Hardware::of(86, 82)) {
    auto parameters = std::make_unique<Zero3Parameters>(tape_, kRanks);
    for (int i = 0; i < layers; ++i) {
      weights_.push_back(tape_.parameter({kWidth, kWidth}, DType::kBFloat16));
      parameters->take({weights_.back()});
    }
    parameters->load();
    DeepSpeedOptions stage3 = options;
    stage3.stage = 3;
    stage3.ranks = kRanks;
    engine_ = std::make_unique<Zero3Engine>(tape_, std::move(parameters), weights_, stage3);
    optimizer_ = adamw(engine_->masters());
  }

  void step() {
    engine_->before_forward();
    Tensor x = tape_.empty({8, kWidth}, DType::kBFloat16);
    for (const Tensor& weight : weights_) {
      x = call_module(&weight, {&weight}, x, [&weight](const Tensor& in) { return zero3_linear(in, weight); });
      most_whole_ = std::max(most_whole_, whole());
    }
    engine_->backward(sum(x), true);
    engine_->step(*optimizer_);
  }

  /// How many parameters have memory.
  std::ptrdiff_t whole() const {
    return std::ranges::count_if(weights_, [](const Tensor& weight) { return weight->storage->bytes > 0; });
  }
  std::ptrdiff_t most_whole() const { return std::exchange(most_whole_, 0); }
  const DeepSpeedEngine& engine() const { return *engine_; }
  EventList events() const { return tape_.events(); }

 private:
  Tape tape_;
  std::vector<Tensor> weights_;
  std::unique_ptr<DeepSpeedEngine> engine_;
  std::unique_ptr<Optimizer> optimizer_;
  mutable std::ptrdiff_t most_whole_ = 0;
};

DeepSpeedOptions options_of(const Zero3Options& zero3) {
  DeepSpeedOptions options;
  options.reduce_bucket_size = 3 * kWidth * kWidth;
  options.zero3 = zero3;
  return options;
}

TEST(Zero3, PartsArePaddedToBeAlike) {
  Tape tape(Hardware::of(86, 82));
  Zero3Parameters parameters(tape, kRanks);
  const Tensor odd = tape.parameter({7, 3}, DType::kFloat32);
  parameters.take({odd});
  EXPECT_EQ(parameters[0].part_numel, 6);
  EXPECT_EQ(odd->storage->bytes, 0);
  EXPECT_EQ(odd.sizes(), Dims({7, 3}));
  parameters.gather(parameters[0]);
  EXPECT_EQ(odd->storage->bytes, 4 * 6 * kRanks);
}

TEST(Zero3, TheFirstPassHoldsOneLayer) {
  Stack stack(options_of({.prefetch_bucket_size = 4 * kWidth * kWidth, .persistence_threshold = 0}));
  stack.step();
  EXPECT_EQ(stack.most_whole(), 0);  // after a layer has run
  EXPECT_EQ(stack.whole(), 0);
}

TEST(Zero3, LaterPassesGatherAhead) {
  for (const int ahead : {0, 1, 2}) {
    Stack stack(options_of(
        {.prefetch_bucket_size = ahead * kWidth * kWidth, .max_reuse_distance = 0, .persistence_threshold = 0}));
    stack.step();
    stack.most_whole();
    stack.step();
    // What comes together is copied out of one tensor when the first of it is waited for.
    EXPECT_EQ(stack.most_whole() > 0, ahead > 0) << ahead;
    EXPECT_EQ(stack.whole(), 0);
  }
}

TEST(Zero3, MaxLiveParametersEndsWhatIsGatheredAhead) {
  const Zero3Options wide{
      .prefetch_bucket_size = 100 * kWidth * kWidth, .max_reuse_distance = 0, .persistence_threshold = 0};
  Zero3Options narrow = wide;
  narrow.max_live_parameters = kWidth * kWidth;
  const auto peak = [](const Zero3Options& options) {
    Stack stack(options_of(options), 16);
    stack.step();
    stack.step();
    return replay(stack.events()).allocated.bytes;
  };
  EXPECT_LT(peak(narrow), peak(wide));
}

TEST(Zero3, WhatIsUsedAgainSoonStays) {
  Stack stack(options_of({.prefetch_bucket_size = 0, .persistence_threshold = 0}));
  stack.step();
  EXPECT_EQ(stack.most_whole(), 0);
  stack.step();
  EXPECT_EQ(stack.most_whole(), 4);
  EXPECT_EQ(stack.whole(), 0);
}

TEST(Zero3, SmallParametersStayBetweenSteps) {
  Stack stack(options_of({.max_reuse_distance = 0, .persistence_threshold = kWidth * kWidth}));
  EXPECT_EQ(stack.whole(), 0);
  stack.step();
  EXPECT_EQ(stack.whole(), 4);
  Stack few(options_of({.max_reuse_distance = 0,
                        .persistence_threshold = kWidth * kWidth,
                        .model_persistence_threshold = 2 * kWidth * kWidth}));
  few.step();
  EXPECT_EQ(few.whole(), 2);
}

std::vector<std::int64_t> groups_of(std::int64_t sub_group_size) {
  const Stack stack(options_of({.sub_group_size = sub_group_size}));
  std::vector<std::int64_t> sizes;
  for (const Tensor& master : stack.engine().masters()) sizes.push_back(master.numel());
  return sizes;
}

TEST(Zero3, SubGroupsEndWithTheParameterThatFillsThem) {
  constexpr std::int64_t kPart = kWidth * kWidth / kRanks;
  EXPECT_THAT(groups_of(1'000'000), ElementsAre(4 * kPart));
  EXPECT_THAT(groups_of(kPart + 1), ElementsAre(2 * kPart, 2 * kPart));
  EXPECT_THAT(groups_of(3 * kPart), ElementsAre(3 * kPart, kPart));
  EXPECT_THAT(groups_of(1), ElementsAre(kPart, kPart, kPart, kPart));
}

TEST(Zero3, StreamsAreRecordedWhereTheyOverlap) {
  const auto recorded = [](bool overlaps) {
    DeepSpeedOptions options = options_of({});
    options.overlaps = overlaps;
    Stack stack(options);
    stack.step();
    return std::ranges::count(stack.events(), EventKind::kRecordStream, &AllocationEvent::kind);
  };
  EXPECT_EQ(recorded(false), 0);
  EXPECT_GT(recorded(true), 0);
}

}  // namespace
}  // namespace vramwise::tape
