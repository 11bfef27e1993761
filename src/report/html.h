// Pieces of a page that stands alone: no script, nothing loaded from elsewhere.
#pragma once

#include <string>
#include <string_view>

namespace vramwise {

/// Everything before the first heading; `title` is the page's.
std::string html_head(std::string_view title);
std::string html_end();

std::string html_escaped(std::string_view text);
/// A cell of a table, to the left or, for numbers, to the right.
std::string html_cell(std::string_view text);
std::string html_number(std::string_view text);

}  // namespace vramwise
