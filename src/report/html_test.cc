#include <gmock/gmock.h>

#include "report/memory_chart.h"
#include "report/training_html.h"

namespace vramwise {
namespace {

using testing::HasSubstr;
using testing::Not;

MemoryChart small_chart() {
  return {.owners = {"a<b", "c"},
          .line_name = "reserved",
          .points = {{.by_owner = {10, 20}, .line = 40, .phase = "forward 1"},
                     {.by_owner = {10, 90}, .line = 100, .phase = "backward 1"}},
          .peak = Bytes(100),
          .limit = Bytes(200)};
}

TEST(MemoryChart, StacksOwnersUnderTheCardsEdge) {
  const std::string html = memory_chart_html(small_chart());
  // 200 bytes and 3 % are 320 high: 10 bytes are 15.5, 30 bytes 46.6, 100 bytes 155.3.
  EXPECT_THAT(html, HasSubstr("points=\"0.0,304.5 1000.0,304.5 1000.0,320.0 0.0,320.0 \""));
  EXPECT_THAT(html, HasSubstr("points=\"0.0,273.4 1000.0,164.7 1000.0,304.5 0.0,304.5 \""));
  EXPECT_THAT(html, HasSubstr("<polyline fill=\"none\" stroke=\"currentColor\" points=\"0.0,257.9 1000.0,164.7 \""));
  EXPECT_THAT(html, HasSubstr("the card: 200 B"));
  EXPECT_THAT(html, HasSubstr("a&lt;b"));
  EXPECT_THAT(html, HasSubstr(">backward 1<"));
}

TEST(MemoryChart, LeavesAMuchLargerCardOut) {
  MemoryChart chart = small_chart();
  chart.limit = Bytes(100'000);
  EXPECT_THAT(memory_chart_html(chart), Not(HasSubstr("the card")));
  chart.points.clear();
  EXPECT_EQ(memory_chart_html(chart), "");
}

TEST(TrainingHtml, ShowsTheChartAndTheReport) {
  TrainingReport report;
  report.model = "llama <8 B>";
  report.card = "A card";
  report.step_seconds = 0.5;
  report.step_tokens = 1000;
  report.estimate.allocated = Bytes::mib(10);
  TrainingMoment moment;
  moment.by_owner[static_cast<std::size_t>(Owner::kActivations)] = Bytes::mib(10);
  moment.phase = TrainingPhase::kForward;
  moment.step = 1;
  const std::string html = training_html(report, {moment, moment});
  EXPECT_THAT(html, HasSubstr("llama &lt;8 B&gt; on A card"));
  EXPECT_THAT(html, HasSubstr("A step takes about 0.5 s: 2000 tokens a second"));
  EXPECT_THAT(html, HasSubstr("forward 2"));
  EXPECT_THAT(html, HasSubstr("activations"));
}

}  // namespace
}  // namespace vramwise
