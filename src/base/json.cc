// nlohmann::json throws; here its failures become Errors.
#include "base/json.h"

#include <fmt/format.h>

namespace vramwise {

Result<Json> parse_json(std::string_view text, const std::string& where) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return world_error(fmt::format("{}: not valid JSON", where), "Look for a cut-off or hand-edited file.");
  return value;
}

Error internal::json_key_error(const std::string& key, const char* expected) {
  return world_error(fmt::format("key \"{}\": {} was expected", key, expected));
}

}  // namespace vramwise
