#include "dryrun/fit.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "dryrun/html.h"

namespace vramwise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(FitQuestion, Forms) {
  const auto range = parse_fit("--bs {1..5}");
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->flag, "--bs");
  EXPECT_THAT(range->values, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(parse_fit("--bs {1..30*8}")->values, ElementsAre(8, 16, 24));
  EXPECT_THAT(parse_fit("--bs={4,1,2,4}")->values, ElementsAre(1, 2, 4));
  EXPECT_EQ(parse_fit("--bs={4,1}")->flag, "--bs");
  EXPECT_EQ(parse_fit("batch={1..2}")->flag, "");
  EXPECT_EQ(parse_fit("batch={1..2}")->word, "batch={1..2}");
  for (const char* bad : {"--bs", "--bs 4", "{}", "--bs {5..1}", "--bs {a..b}", "--bs {1..2} {3..4}",
                          "--bs {1..99999999999}", "--bs {1..4*0}", "--bs {1,x}", "--bs {1..4*8}"})
    EXPECT_FALSE(parse_fit(bad).ok()) << bad;
}

TEST(FitQuestion, PutsTheValueIntoTheCommand) {
  const auto put = [](std::vector<std::string> command, const char* question) {
    return with_value(command, parse_fit(question).value(), 7);
  };
  EXPECT_THAT(put({"x", "--bs", "4", "y"}, "--bs {1..9}"), ElementsAre("x", "--bs", "7", "y"));
  EXPECT_THAT(put({"x", "--bs=4"}, "--bs {1..9}"), ElementsAre("x", "--bs=7"));
  EXPECT_THAT(put({"x", "y"}, "--bs {1..9}"), ElementsAre("x", "y", "--bs", "7"));
  EXPECT_THAT(put({"x", "batch={1..9}"}, "batch={1..9}"), ElementsAre("x", "batch=7"));
  EXPECT_THAT(put({"x", "-b", "2"}, "-b {1..9}"), ElementsAre("x", "-b", "7"));
}

/// A card of 1000 bytes; a program that takes what `takes` says.
class Program {
 public:
  explicit Program(std::function<std::int64_t(std::int64_t)> takes) : takes_(std::move(takes)) {}

  Result<DryRun> operator()(std::int64_t value) {
    ++runs;
    DryRun run;
    DryRunGpu gpu{};
    gpu.total = Bytes(1000);
    gpu.device_peak = Bytes(std::min<std::int64_t>(takes_(value), 1000));
    run.verdict = takes_(value) <= 1000 ? DryRunVerdict::kFits : DryRunVerdict::kDoesNotFit;
    run.gpus = {gpu};
    return run;
  }
  int runs = 0;

 private:
  std::function<std::int64_t(std::int64_t)> takes_;
};

FitAnswer search(Program& program, const char* question) {
  const auto answer = find_largest(parse_fit(question).value(), [&](std::int64_t value) { return program(value); });
  EXPECT_TRUE(answer.ok());
  return answer.value();
}

TEST(Fit, FindsEveryLimit) {
  for (std::int64_t limit = 0; limit <= 65; ++limit) {
    Program program([&](std::int64_t value) { return value <= limit ? 500 : 2000; });
    const FitAnswer answer = search(program, "--bs {1..64}");
    ASSERT_EQ(answer.largest.has_value(), limit > 0) << limit;
    if (limit > 0) {
      EXPECT_EQ(answer.trials[*answer.largest].value, std::min<std::int64_t>(limit, 64));
    }
    EXPECT_LE(program.runs, 8);
    EXPECT_EQ(answer.exit_code(), limit > 0 ? 0 : 3);
    EXPECT_TRUE(answer.is_monotonic);
  }
}

TEST(Fit, GrowthThatIsALineNeedsFewRuns) {
  for (const std::int64_t each : {3, 7, 11, 50}) {
    Program program([&](std::int64_t value) { return 100 + each * value; });
    const FitAnswer answer = search(program, "--bs {1..1024}");
    EXPECT_EQ(answer.trials[*answer.largest].value, 900 / each);
    EXPECT_LE(program.runs, 12);
  }
}

TEST(Fit, SaysWhenMoreTakesLess) {
  Program program([](std::int64_t value) { return value == 1 ? 900 : 500; });
  const FitAnswer answer = search(program, "--bs {1..4}");
  EXPECT_FALSE(answer.is_monotonic);
  const FitQuestion question = parse_fit("--bs {1..4}").value();
  EXPECT_THAT(describe(question, answer), HasSubstr("does not always take more"));
  EXPECT_THAT(describe(question, answer), HasSubstr("The largest --bs that fits: 4, the last one of the range."));
  EXPECT_EQ(to_json(question, answer)["largest"], 4);
}

TEST(Fit, AnInterruptedTrialIsTheLast) {
  int runs = 0;
  const auto answer = find_largest(parse_fit("{1..64}").value(), [&](std::int64_t) -> Result<DryRun> {
    DryRun run;
    run.verdict = ++runs == 1 ? DryRunVerdict::kFits : DryRunVerdict::kInterrupted;
    run.script_exit = runs == 1 ? 0 : 143;
    return run;
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(answer->exit_code(), 143);
  EXPECT_THAT(describe(parse_fit("{1..64}").value(), *answer),
              HasSubstr("Interrupted; the largest {1..64} that was tried and fits: 1."));
}

TEST(Fit, AnErrorOfTheRunIsTheAnswersToo) {
  const auto answer =
      find_largest(parse_fit("{1..4}").value(), [](std::int64_t) -> Result<DryRun> { return world_error("no"); });
  EXPECT_FALSE(answer.ok());
}

TEST(Html, IsWholeAndLoadsNothing) {
  DryRun run;
  run.verdict = DryRunVerdict::kFits;
  DryRunGpu gpu{};
  gpu.name = "A <card>";
  gpu.total = Bytes(1000);
  gpu.device_peak = Bytes(700);
  gpu.way.emplace();
  gpu.way->timeline = {{.time_us = 1, .phase = "forward", .step = 0, .by_owner = {100}},
                       {.time_us = 2, .phase = "backward", .step = 0, .by_owner = {100, 200}}};
  gpu.way->peak.allocated = Bytes(300);
  gpu.way->peak.by_owner = {100, 200};
  gpu.way->peak.largest = {{.owner = MemoryOwner::kWeights,
                            .count = 2,
                            .each = Bytes(50),
                            .name = "w<1>",
                            .line = "a.py:1",
                            .user_line = ""}};
  run.gpus = {gpu};
  const std::string page = to_html(run, "python 'a & b.py'");
  EXPECT_THAT(page, HasSubstr("A &lt;card&gt;"));
  EXPECT_THAT(page, HasSubstr("a &amp; b.py"));
  EXPECT_THAT(page, HasSubstr("w&lt;1&gt;"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  for (const char* loaded : {"http:", "https:", "src=", "<script", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(loaded)));
}

}  // namespace
}  // namespace vramwise
