// Memory over the events of a run as an SVG: a stack of areas, one an owner. The order of events is the axis, since
// time on a card that isn't there means nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace vramwise {

struct MemoryChart {
  struct Point {
    std::vector<std::int64_t> by_owner;  ///< bytes, one for each of `owners`
    std::optional<std::int64_t> line;    ///< bytes that are drawn as a line over the stack
    std::string phase;                   ///< a mark stands where it changes; empty: none
  };

  std::vector<std::string> owners;  ///< from the bottom of the stack up
  std::string line_name;            ///< what Point::line is
  std::vector<Point> points;
  Bytes peak{};                ///< of the stack
  std::optional<Bytes> limit;  ///< the card's memory, a dashed line where the peak is not tiny beside it
};

/// The drawing and its legend; empty for a chart without points.
std::string memory_chart_html(const MemoryChart& chart);

}  // namespace vramwise
