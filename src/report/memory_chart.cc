// The chart is as high as the larger of the card and the peak, so that the room that is left can be seen.
#include "report/memory_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/units.h"
#include "report/html.h"

namespace vramwise {
namespace {

constexpr double kWidth = 1000, kHeight = 320;
constexpr std::array<const char*, 9> kColours = {"#3b6fb6", "#e08a3c", "#6aa84f", "#b65b8f", "#4fb0ae",
                                                 "#c9b037", "#8d6fc0", "#d0605e", "#8a8a8a"};

const char* colour(std::size_t owner) { return kColours[owner % kColours.size()]; }

class Drawing {
 public:
  explicit Drawing(const MemoryChart& chart) : chart_(chart) {
    std::int64_t most = chart.limit.value_or(Bytes(0)).count();
    for (const MemoryChart::Point& point : chart.points) {
      const std::int64_t sum = std::accumulate(point.by_owner.begin(), point.by_owner.end(), std::int64_t{0});
      most = std::max({most, sum, point.line.value_or(0)});
    }
    // A small peak on a large card is shown larger than life, without the card's edge.
    shows_limit_ = chart.limit && chart.peak.count() * 8 >= most;
    const std::int64_t top = shows_limit_ || !chart.limit ? most : highest_without_limit();
    scale_ = kHeight / (1.03 * static_cast<double>(std::max<std::int64_t>(top, 1)));
  }

  std::string svg() const {
    std::string text =
        fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"allocated memory, event by event\">\n",
                    kWidth, kHeight + 20);
    for (std::size_t owner = 0; owner < chart_.owners.size(); ++owner) text += area(owner);
    return text + line() + phase_marks() + limit() + "</svg>\n";
  }

 private:
  std::int64_t highest_without_limit() const {
    std::int64_t most = chart_.peak.count();
    for (const MemoryChart::Point& point : chart_.points) most = std::max(most, point.line.value_or(0));
    return most;
  }

  double x_of(std::size_t point) const {
    return kWidth * static_cast<double>(point) /
           static_cast<double>(std::max<std::size_t>(chart_.points.size() - 1, 1));
  }
  double y_of(std::int64_t bytes) const { return kHeight - static_cast<double>(bytes) * scale_; }

  /// One owner's area: along its upper edge, and back along its lower one.
  std::string area(std::size_t owner) const {
    std::string upper, lower;
    for (std::size_t i = 0; i < chart_.points.size(); ++i) {
      const std::vector<std::int64_t>& bytes = chart_.points[i].by_owner;
      const auto end = bytes.begin() + static_cast<std::ptrdiff_t>(owner);
      const std::int64_t below = std::accumulate(bytes.begin(), end, std::int64_t{0});
      upper += fmt::format("{:.1f},{:.1f} ", x_of(i), y_of(below + bytes[owner]));
      lower.insert(0, fmt::format("{:.1f},{:.1f} ", x_of(i), y_of(below)));
    }
    return fmt::format("<polygon fill=\"{}\" points=\"{}{}\"><title>{}</title></polygon>\n", colour(owner), upper,
                       lower, html_escaped(chart_.owners[owner]));
  }

  std::string line() const {
    std::string points;
    for (std::size_t i = 0; i < chart_.points.size(); ++i) {
      if (const auto bytes = chart_.points[i].line) points += fmt::format("{:.1f},{:.1f} ", x_of(i), y_of(*bytes));
    }
    if (points.empty()) return {};
    return fmt::format("<polyline fill=\"none\" stroke=\"currentColor\" points=\"{}\"><title>{}</title></polyline>\n",
                       points, html_escaped(chart_.line_name));
  }

  /// A line where a phase begins, named where there is room.
  std::string phase_marks() const {
    std::string text;
    std::string before;
    double last_name = -1000;
    for (std::size_t i = 0; i < chart_.points.size(); ++i) {
      const std::string& label = chart_.points[i].phase;
      if (label == before) continue;
      before = label;
      const double x = x_of(i);
      text += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"0\" y2=\"{1}\" stroke=\"currentColor\" "
          "stroke-opacity=\".18\"><title>{2}</title></line>\n",
          x, kHeight, html_escaped(label));
      if (x - last_name < 95) continue;
      text += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", x + 2, kHeight + 14, html_escaped(label));
      last_name = x;
    }
    return text;
  }

  std::string limit() const {
    if (!shows_limit_) return {};
    const double y = y_of(chart_.limit->count());
    return fmt::format(
        "<line x1=\"0\" x2=\"{0}\" y1=\"{1:.1f}\" y2=\"{1:.1f}\" stroke=\"#d33\" stroke-dasharray=\"6 4\"/><text "
        "x=\"4\" y=\"{2:.1f}\">{3}</text>\n",
        kWidth, y, y + 13, html_escaped(fmt::format("the card: {}", format_size(*chart_.limit))));
  }

  const MemoryChart& chart_;
  bool shows_limit_ = false;
  double scale_ = 1;
};

}  // namespace

std::string memory_chart_html(const MemoryChart& chart) {
  if (chart.points.empty()) return {};
  std::string text = Drawing(chart).svg() + "<p class=\"l\">";
  for (std::size_t owner = 0; owner < chart.owners.size(); ++owner) {
    text += fmt::format("<span><i class=\"k\" style=\"background:{}\"></i>{}</span>", colour(owner),
                        html_escaped(chart.owners[owner]));
  }
  if (!chart.line_name.empty()) text += fmt::format("<span>line: {}</span>", html_escaped(chart.line_name));
  return text + "</p>\n";
}

}  // namespace vramwise
