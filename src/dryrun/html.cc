// A section a card: the chart, the peaks of phases, what the peak consists of, the largest tensors.
#include "dryrun/html.h"

#include <fmt/format.h>

#include "base/units.h"
#include "dryrun/text.h"
#include "report/html.h"
#include "report/memory_chart.h"

namespace vramwise {
namespace {

MemoryChart chart_of(const DryRunGpu& gpu) {
  MemoryChart chart{.owners = {}, .line_name = "", .points = {}, .peak = gpu.way->peak.allocated, .limit = gpu.total};
  for (int owner = 0; owner < kMemoryOwners; ++owner)
    chart.owners.emplace_back(to_string(static_cast<MemoryOwner>(owner)));
  for (const TimelinePoint& point : gpu.way->timeline) {
    chart.points.push_back({.by_owner = {point.by_owner.begin(), point.by_owner.end()},
                            .line = std::nullopt,
                            .phase = point.phase.empty() ? "" : place_text(point.phase, point.step)});
  }
  return chart;
}

std::string phases(const DryRunGpu& gpu) {
  if (gpu.phases.empty()) return {};
  std::string text =
      "<table><tr><th>peak of</th><th class=\"n\">allocated</th><th class=\"n\">reserved</th><th "
      "class=\"n\">device</th></tr>\n";
  for (const DryRunPhase& phase : gpu.phases) {
    text += "<tr>" + html_cell(phase.name) + html_number(format_size(phase.allocated.bytes)) +
            html_number(format_size(phase.reserved.bytes)) + html_number(format_size(phase.device.bytes)) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string parts(const DryRunGpu& gpu) {
  std::string text = "<table><tr><th>at the peak</th><th class=\"n\">memory</th></tr>\n";
  for (const auto& [name, bytes] : gpu.parts()) {
    if (bytes > Bytes(0)) text += "<tr>" + html_cell(name) + html_number(format_size(bytes)) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string largest(const DryRunGpu& gpu) {
  std::string text =
      "<table><tr><th class=\"n\">count</th><th class=\"n\">each</th><th>for</th><th>of</th><th>line</th></tr>\n";
  for (const PeakTensors& tensors : gpu.way->peak.largest) {
    std::string line = tensors.line.empty() ? "autograd" : tensors.line;
    if (!tensors.user_line.empty() && tensors.user_line != tensors.line) line += ", " + tensors.user_line;
    text += "<tr>" + html_number(std::to_string(tensors.count)) + html_number(format_size(tensors.each)) +
            html_cell(to_string(tensors.owner)) + html_cell(tensors.name) + html_cell(line) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string gpu_section(const DryRunGpu& gpu) {
  std::string text = fmt::format("<h2>GPU {}: {}, {}</h2>\n<p>device {}", gpu.index, html_escaped(gpu.name),
                                 format_size(gpu.total), format_size(gpu.device_peak));
  if (gpu.reserved) text += fmt::format(", reserved {}", format_size(gpu.reserved->bytes));
  if (gpu.allocated) text += fmt::format(", allocated {}", format_size(gpu.allocated->bytes));
  text += fmt::format("; left {}</p>\n", format_size(gpu.left()));
  if (gpu.way) text += memory_chart_html(chart_of(gpu));
  text += phases(gpu);
  return gpu.way ? text + parts(gpu) + largest(gpu) : text;
}

}  // namespace

std::string to_html(const DryRun& run, const std::string& command) {
  std::string text = html_head("vramwise dry run");
  text += fmt::format("<h1>Dry run</h1>\n<pre>{}</pre>\n<p class=\"v\">{}</p>\n", html_escaped(command),
                      to_string(run.verdict));
  if (!run.torch.empty())
    text += fmt::format("<p>PyTorch {}, {} optimizer steps.</p>\n", html_escaped(run.torch), run.steps);
  for (const std::string& phase : run.phases_not_reached()) text += fmt::format("<p>Not reached: {}.</p>\n", phase);
  for (const DryRunGpu& gpu : run.gpus) text += gpu_section(gpu);
  for (const auto& [what, count] : run.unmodelled)
    text += fmt::format("<p>Not modelled: {} ({} times).</p>\n", html_escaped(what), count);
  return text + html_end();
}

}  // namespace vramwise
