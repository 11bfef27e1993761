// The timeline is a stack of areas, one an owner, over the order of events: time on an emulated card means nothing. Its
// height is the larger of the card and the peak, so the room that is left can be seen.
#include "dryrun/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/units.h"
#include "dryrun/text.h"

namespace vramwise {
namespace {

constexpr double kWidth = 1000, kHeight = 320;
constexpr std::array<const char*, kMemoryOwners> kColours = {"#3b6fb6", "#e08a3c", "#6aa84f", "#b65b8f", "#4fb0ae",
                                                             "#c9b037", "#8d6fc0", "#d0605e", "#8a8a8a"};

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>vramwise dry run</title><style>
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:15px/1.45 system-ui,sans-serif;max-width:1040px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem}
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:var(--soft);padding:.6rem .8rem;overflow-x:auto}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;background:var(--soft)}svg text{font:11px system-ui,sans-serif;fill:currentColor}
.v{font-size:1.1rem;font-weight:600}.k{display:inline-block;width:.8em;height:.8em;margin-right:.4em}.l span{margin-right:1.2em;white-space:nowrap}
</style></head><body>
)";

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string cell(std::string_view text) { return fmt::format("<td>{}</td>", escaped(text)); }
std::string number(std::string_view text) { return fmt::format("<td class=\"n\">{}</td>", escaped(text)); }

std::int64_t sum_of(const TimelinePoint& point) {
  std::int64_t sum = 0;
  for (const std::int64_t bytes : point.by_owner) sum += bytes;
  return sum;
}

/// One owner's area: along its upper edge, and back along its lower one.
std::string area(const std::vector<TimelinePoint>& points, std::size_t owner, double scale) {
  std::string upper, lower;
  for (std::size_t i = 0; i < points.size(); ++i) {
    std::int64_t below = 0;
    for (std::size_t k = 0; k < owner; ++k) below += points[i].by_owner[k];
    const double x = kWidth * static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(points.size() - 1, 1));
    const double low = kHeight - static_cast<double>(below) * scale;
    const double high = low - static_cast<double>(points[i].by_owner[owner]) * scale;
    upper += fmt::format("{:.1f},{:.1f} ", x, high);
    lower = fmt::format("{:.1f},{:.1f} ", x, low) + lower;
  }
  const std::string name = to_string(static_cast<MemoryOwner>(owner));
  return fmt::format("<polygon fill=\"{}\" points=\"{}{}\"><title>{}</title></polygon>\n", kColours[owner], upper,
                     lower, name);
}

/// A line where a phase begins, named where there is room.
std::string phase_marks(const std::vector<TimelinePoint>& points) {
  std::string text;
  std::string before;
  double last_name = -1000;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::string label = points[i].phase.empty() ? "" : place_text(points[i].phase, points[i].step);
    if (label == before) continue;
    before = label;
    const double x = kWidth * static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(points.size() - 1, 1));
    text += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" y2=\"{1}\" stroke=\"currentColor\" "
        "stroke-opacity=\".18\"><title>{2}</title></line>\n",
        x, kHeight, escaped(label));
    if (x - last_name < 95) continue;
    text += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", x + 2, kHeight + 14, escaped(label));
    last_name = x;
  }
  return text;
}

std::string timeline(const DryRunGpu& gpu) {
  const std::vector<TimelinePoint>& points = gpu.way->timeline;
  if (points.empty()) return {};
  std::int64_t most = gpu.total.count();
  for (const TimelinePoint& point : points) most = std::max(most, sum_of(point));
  // A small peak on a large card is shown larger than life, without the card's edge.
  const std::int64_t peak = gpu.way->peak.allocated.count();
  const bool shows_card = peak * 8 >= most;
  const double scale = kHeight / (1.03 * static_cast<double>(std::max<std::int64_t>(shows_card ? most : peak, 1)));
  std::string text =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"allocated memory, event by event\">\n", kWidth,
                  kHeight + 20);
  for (std::size_t owner = 0; owner < kMemoryOwners; ++owner) text += area(points, owner, scale);
  text += phase_marks(points);
  if (shows_card) {
    const double y = kHeight - static_cast<double>(gpu.total.count()) * scale;
    text += fmt::format(
        "<line x1=\"0\" x2=\"{0}\" y1=\"{1:.1f}\" y2=\"{1:.1f}\" stroke=\"#d33\" stroke-dasharray=\"6 4\"/><text "
        "x=\"4\" y=\"{2:.1f}\">{3}</text>\n",
        kWidth, y, y + 13, escaped(fmt::format("the card: {}", format_size(gpu.total))));
  }
  text += "</svg>\n<p class=\"l\">";
  for (std::size_t owner = 0; owner < kMemoryOwners; ++owner) {
    text += fmt::format("<span><i class=\"k\" style=\"background:{}\"></i>{}</span>", kColours[owner],
                        to_string(static_cast<MemoryOwner>(owner)));
  }
  return text + "</p>\n";
}

std::string phases(const DryRunGpu& gpu) {
  if (gpu.phases.empty()) return {};
  std::string text =
      "<table><tr><th>peak of</th><th class=\"n\">allocated</th><th class=\"n\">reserved</th><th "
      "class=\"n\">device</th></tr>\n";
  for (const DryRunPhase& phase : gpu.phases) {
    text += "<tr>" + cell(phase.name) + number(format_size(phase.allocated.bytes)) +
            number(format_size(phase.reserved.bytes)) + number(format_size(phase.device.bytes)) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string parts(const DryRunGpu& gpu) {
  std::string text = "<table><tr><th>at the peak</th><th class=\"n\">memory</th></tr>\n";
  for (const auto& [name, bytes] : gpu.parts()) {
    if (bytes > Bytes(0)) text += "<tr>" + cell(name) + number(format_size(bytes)) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string largest(const DryRunGpu& gpu) {
  std::string text =
      "<table><tr><th class=\"n\">count</th><th class=\"n\">each</th><th>for</th><th>of</th><th>line</th></tr>\n";
  for (const PeakTensors& tensors : gpu.way->peak.largest) {
    std::string line = tensors.line.empty() ? "autograd" : tensors.line;
    if (!tensors.user_line.empty() && tensors.user_line != tensors.line) line += ", " + tensors.user_line;
    text += "<tr>" + number(std::to_string(tensors.count)) + number(format_size(tensors.each)) +
            cell(to_string(tensors.owner)) + cell(tensors.name) + cell(line) + "</tr>\n";
  }
  return text + "</table>\n";
}

std::string gpu_section(const DryRunGpu& gpu) {
  std::string text = fmt::format("<h2>GPU {}: {}, {}</h2>\n<p>device {}", gpu.index, escaped(gpu.name),
                                 format_size(gpu.total), format_size(gpu.device_peak));
  if (gpu.reserved) text += fmt::format(", reserved {}", format_size(gpu.reserved->bytes));
  if (gpu.allocated) text += fmt::format(", allocated {}", format_size(gpu.allocated->bytes));
  text += fmt::format("; left {}</p>\n", format_size(gpu.left()));
  if (gpu.way) text += timeline(gpu);
  text += phases(gpu);
  return gpu.way ? text + parts(gpu) + largest(gpu) : text;
}

}  // namespace

std::string to_html(const DryRun& run, const std::string& command) {
  std::string text = kHead;
  text +=
      fmt::format("<h1>Dry run</h1>\n<pre>{}</pre>\n<p class=\"v\">{}</p>\n", escaped(command), to_string(run.verdict));
  if (!run.torch.empty())
    text += fmt::format("<p>PyTorch {}, {} optimizer steps.</p>\n", escaped(run.torch), run.steps);
  for (const std::string& phase : run.phases_not_reached()) text += fmt::format("<p>Not reached: {}.</p>\n", phase);
  for (const DryRunGpu& gpu : run.gpus) text += gpu_section(gpu);
  for (const auto& [what, count] : run.unmodelled)
    text += fmt::format("<p>Not modelled: {} ({} times).</p>\n", escaped(what), count);
  return text + "</body></html>\n";
}

}  // namespace vramwise
