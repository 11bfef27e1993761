#include "estimate/rank_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

using ::testing::ElementsAre;

ParallelOptions zero(int stage, int ranks) {
  ParallelOptions options{.kind = Parallel::kDeepSpeed, .ranks = ranks};
  options.deepspeed.stage = stage;
  return options;
}

TEST(RankChoice, OfFewRanksEachIsRun) {
  EXPECT_THAT(ranks_to_run(zero(1, 1)), ElementsAre(0));
  EXPECT_THAT(ranks_to_run(zero(2, 4)), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(ranks_to_run(zero(2, 8)), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(RankChoice, OfManyTheFirstTheLastSomeBetweenAndTheOneThatKeepsTheMost) {
  EXPECT_THAT(ranks_to_run(zero(2, 64)), ElementsAre(0, 9, 18, 27, 36, 45, 54, 63, tape::kMostGradients));
}

TEST(RankChoice, OneStandsForAllWhereTheyAreAlikeOrOneWasAskedFor) {
  EXPECT_THAT(ranks_to_run({.kind = Parallel::kDataParallel, .ranks = 8}), ElementsAre(tape::kMostGradients));
  ParallelOptions alike = zero(3, 8);
  alike.deepspeed.reduces_to_owner = true;
  EXPECT_THAT(ranks_to_run(alike), ElementsAre(tape::kMostGradients));
  ParallelOptions asked = zero(2, 8);
  asked.deepspeed.rank = 5;
  EXPECT_THAT(ranks_to_run(asked), ElementsAre(5));
}

}  // namespace
}  // namespace vramwise
