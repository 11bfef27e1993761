// Reading JSON without exceptions: every failure is an Error that names the key and what was expected there.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_fwd.h"
#include "base/result.h"

namespace vramwise {

/// Parses `text`; `where` (a file name) begins the message of an error.
Result<Json> parse_json(std::string_view text, const std::string& where);

namespace internal {
Error json_key_error(const std::string& key, const char* expected);
}

/// object[key] as a T, or an error that names the key. T: bool, an integer, double, std::string, or a std::vector of
/// those.
template <typename T>
Result<T> json_get(const Json& object, const std::string& key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end()) return internal::json_key_error(key, "a value");
  try {
    if constexpr (std::is_same_v<T, bool>) {
      if (!found->is_boolean()) return internal::json_key_error(key, "true or false");
    } else if constexpr (std::is_integral_v<T>) {
      if (!found->is_number_integer()) return internal::json_key_error(key, "a whole number");
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!found->is_number()) return internal::json_key_error(key, "a number");
    }
    return found->template get<T>();
  } catch (const nlohmann::json::exception&) {
    return internal::json_key_error(key, "a value of another type");
  }
}

/// As json_get, but `fallback` where the key is absent or null.
template <typename T>
Result<T> json_get_or(const Json& object, const std::string& key, T fallback) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (object.is_object() && (found == object.end() || found->is_null())) return fallback;
  return json_get<T>(object, key);
}

}  // namespace vramwise
