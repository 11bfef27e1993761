// nlohmann::json throws; here its failures become Errors.
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>

namespace vramwise {

Result<Json> parse_json(std::string_view text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    const std::string_view before = text.substr(0, std::max<std::size_t>(error.byte, 1) - 1);
    const std::size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
    return world_error(fmt::format("{}: not valid JSON, line {}, column {}", where,
                                   1 + std::ranges::count(before, '\n'), before.size() - line_start + 1),
                       "Look for a cut-off or hand-edited file.");
  }
}

Error internal::json_key_error(const std::string& key, const char* expected) {
  return world_error(fmt::format("key \"{}\": {} was expected", key, expected));
}

}  // namespace vramwise
