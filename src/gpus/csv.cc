// One pass over the characters; a quote opens or closes a quoted stretch, and a doubled one inside it is itself.
#include "gpus/csv.h"

#include <fmt/format.h>

#include <utility>

namespace vramwise {

Result<std::vector<std::vector<std::string>>> parse_csv(std::string_view text) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false;
  const auto end_row = [&]() {
    if (row.empty() && field.empty()) return;  // a blank line
    row.push_back(std::exchange(field, {}));
    rows.push_back(std::exchange(row, {}));
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"') {
        field += '"';
        ++i;
      } else {
        quoted = !quoted;
      }
    } else if (!quoted && c == ',') {
      row.push_back(std::exchange(field, {}));
    } else if (!quoted && c == '\n') {
      end_row();
    } else if (quoted || c != '\r') {
      field += c;
    }
  }
  if (quoted) return world_error("a quote in the table is never closed");
  end_row();
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].size() != rows[0].size()) {
      return world_error(
          fmt::format("row {} of the table has {} fields, its header {}", i + 1, rows[i].size(), rows[0].size()));
    }
  }
  return rows;
}

}  // namespace vramwise
