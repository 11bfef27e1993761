// Tables for people: columns aligned by what stands in them, colour only where the caller says that it can be seen.
#pragma once

#include <string>
#include <vector>

namespace vramwise {

struct TextStyle {
  bool colour = false;  ///< a terminal, and NO_COLOR is not set
};

class Table {
 public:
  /// The first column is aligned to the left, the others to the right, unless a heading begins with '<'.
  explicit Table(std::vector<std::string> headings);

  void add(std::vector<std::string> cells, bool emphasized = false);
  /// Each line indented by two; empty without rows.
  std::string text(TextStyle style) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool emphasized = false;
  };
  std::vector<std::string> headings_;
  std::vector<bool> left_;
  std::vector<Row> rows_;
};

/// "[#######---]": so much of the whole, red above it.
std::string bar(double part, TextStyle style);

}  // namespace vramwise
