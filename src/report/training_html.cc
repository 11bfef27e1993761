// The chart of the run, then what the text report says, as it says it.
#include "report/training_html.h"

#include <fmt/format.h>

#include "report/html.h"
#include "report/memory_chart.h"

namespace vramwise {
namespace {

MemoryChart chart_of(const TrainingReport& report, const std::vector<TrainingMoment>& timeline) {
  MemoryChart chart{.owners = {},
                    .line_name = "reserved by PyTorch's allocator",
                    .points = {},
                    .peak = report.estimate.allocated,
                    .limit = report.hardware.total};
  for (int owner = 0; owner < kOwners; ++owner) chart.owners.emplace_back(owner_name(static_cast<Owner>(owner)));
  for (const TrainingMoment& moment : timeline) {
    MemoryChart::Point point;
    for (const Bytes bytes : moment.by_owner) point.by_owner.push_back(bytes.count());
    point.line = moment.reserved.count();
    point.phase = fmt::format("{} {}", training_phase_name(moment.phase), moment.step + 1);
    chart.points.push_back(std::move(point));
  }
  return chart;
}

}  // namespace

std::string training_html(const TrainingReport& report, const std::vector<TrainingMoment>& timeline) {
  return html_head("vramwise estimate") + "<h1>Estimate</h1>\n" + memory_chart_html(chart_of(report, timeline)) +
         fmt::format("<pre>{}</pre>\n", html_escaped(training_text(report))) + html_end();
}

}  // namespace vramwise
