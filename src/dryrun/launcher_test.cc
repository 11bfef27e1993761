#include "dryrun/launcher.h"

#include <gmock/gmock.h>

#include "base/json.h"

namespace vramwise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

DryRun rank_run(std::int64_t rank, std::int64_t peak, DryRunVerdict verdict = DryRunVerdict::kFits) {
  DryRun run;
  run.verdict = verdict;
  run.rank = DryRunRank{.rank = rank, .world_size = 4, .local_world_size = 4};
  DryRunGpu& gpu = run.gpus.emplace_back();
  gpu.index = rank;
  gpu.total = Bytes(1000);
  gpu.device_peak = Bytes(peak);
  return run;
}

TEST(RankChoice, NumbersAndAll) {
  EXPECT_EQ(parse_rank_choice("7")->rank, 7);
  EXPECT_TRUE(parse_rank_choice("all")->all);
  for (const char* text : {"", "-1", "some", "1.5", "99999999999999999999"})
    EXPECT_FALSE(parse_rank_choice(text)) << text;
}

TEST(DryRunRanks, TheFirstTellsHowManyThereAre) {
  std::vector<std::int64_t> asked;
  const auto run = [&](std::int64_t rank) -> Result<DryRun> {
    asked.push_back(rank);
    return rank_run(rank, 100 + rank);
  };
  EXPECT_EQ(dry_run_ranks({.all = true}, run)->size(), 4U);
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0, 1, 2, 3}));
  asked.clear();
  EXPECT_EQ(dry_run_ranks({.rank = 2}, run)->size(), 1U);
  EXPECT_EQ(asked, std::vector<std::int64_t>{2});
}

TEST(DryRunRanks, AProgramWithoutRanksRunsOnce) {
  const auto runs = dry_run_ranks({.all = true}, [](std::int64_t) -> Result<DryRun> { return DryRun{}; });
  EXPECT_EQ(runs->size(), 1U);
  EXPECT_THAT(runs->at(0).notes, ElementsAre(HasSubstr("--rank all chose nothing")));
}

TEST(DryRunRanks, ARankThatDidNotRunIsSaid) {
  const auto notes = [](const RankChoice& choice, const DryRun& run) {
    return dry_run_ranks(choice, [&](std::int64_t) -> Result<DryRun> { return run; })->at(0).notes;
  };
  EXPECT_THAT(notes({.rank = 3}, DryRun{}), ElementsAre(HasSubstr("--rank 3 chose nothing")));
  EXPECT_THAT(notes({.rank = 0}, DryRun{}), ElementsAre()) << "what happens without the flag";
  EXPECT_THAT(notes({.rank = 3}, rank_run(3, 100)), ElementsAre());
  EXPECT_THAT(notes({.rank = 3}, rank_run(1, 100)),
              ElementsAre("--rank 3 was asked for, but the program was rank 1 of 4"));
  DryRun alone = rank_run(0, 100);
  alone.rank->world_size = 1;
  EXPECT_THAT(notes({.all = true}, alone), ElementsAre("--rank all: there is one rank only"));
}

TEST(DryRunRanks, StopsAfterAFailureAndAnInterruption) {
  for (const auto end : {DryRunVerdict::kScriptFailed, DryRunVerdict::kInterrupted}) {
    const auto runs = dry_run_ranks({.all = true}, [&](std::int64_t rank) -> Result<DryRun> {
      return rank_run(rank, 100, rank == 1 ? end : DryRunVerdict::kFits);
    });
    EXPECT_EQ(runs->size(), 2U);
    EXPECT_EQ(decisive(*runs).rank->rank, 1);
  }
}

TEST(DryRunRanks, TheFullestOrTheWorstDecides) {
  EXPECT_EQ(decisive({rank_run(0, 100), rank_run(1, 300), rank_run(2, 200)}).rank->rank, 1);
  const std::vector<DryRun> runs = {rank_run(0, 900), rank_run(1, 100, DryRunVerdict::kDoesNotFit)};
  EXPECT_EQ(decisive(runs).rank->rank, 1);
  EXPECT_EQ(to_json(runs)["decisive_rank"], 1);
  EXPECT_EQ(to_json(runs)["ranks"].size(), 2U);
  EXPECT_NE(describe(runs).find("does not fit"), std::string::npos);
}

}  // namespace
}  // namespace vramwise
