// Widths are counted in bytes: cells are ASCII.
#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vramwise {
namespace {

constexpr const char* kBold = "\033[1m";
constexpr const char* kRed = "\033[31m";
constexpr const char* kPlain = "\033[0m";
constexpr int kBarWidth = 20;

}  // namespace

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {
  for (std::string& heading : headings_) {
    const bool left = heading.starts_with('<') || left_.empty();
    left_.push_back(left);
    if (heading.starts_with('<')) heading.erase(0, 1);
  }
}

void Table::add(std::vector<std::string> cells, bool emphasized) {
  cells.resize(headings_.size());
  rows_.push_back({std::move(cells), emphasized});
}

std::string Table::text(TextStyle style) const {
  if (rows_.empty()) return {};
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < headings_.size(); ++i) {
    widths.push_back(headings_[i].size());
    for (const Row& row : rows_) widths[i] = std::max(widths[i], row.cells[i].size());
  }
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells, bool bold) {
    std::string one = " ";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      one += left_[i] ? fmt::format(" {:<{}} ", cells[i], widths[i]) : fmt::format(" {:>{}} ", cells[i], widths[i]);
    }
    one.erase(one.find_last_not_of(' ') + 1);
    text += bold && style.colour ? kBold + one + kPlain + "\n" : one + "\n";
  };
  line(headings_, true);
  for (const Row& row : rows_) line(row.cells, row.emphasized);
  return text;
}

std::string bar(double part, TextStyle style) {
  const int full = static_cast<int>(std::lround(std::clamp(part, 0.0, 1.0) * kBarWidth));
  std::string text = "[" + std::string(static_cast<std::size_t>(full), '#') +
                     std::string(static_cast<std::size_t>(kBarWidth - full), '-') + "]";
  return style.colour && part > 1 ? kRed + text + kPlain : text;
}

}  // namespace vramwise
