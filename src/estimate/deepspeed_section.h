// One object of a ds_config.json, and its values as DeepSpeed takes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace vramwise {

/// Who looks at the values: pydantic, which takes numbers and truths written as texts and as each other, or nobody.
enum class DeepSpeedReader : std::uint8_t { kPlain, kPydantic };

/// DeepSpeed would stop at the file.
Error deepspeed_stops(std::string what, std::string remedy = {});
/// No run was compared with such a setting.
Error unmodelled_setting(const std::string& what);

/// The first error stays. "auto" and null are as good as absent.
class DeepSpeedSection {
 public:
  /// The object at the parent's key; empty where there is none.
  DeepSpeedSection(const Json& parent, const char* key, std::string where,
                   DeepSpeedReader reader = DeepSpeedReader::kPlain);
  DeepSpeedSection(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }
  bool has(const char* key) const;
  bool is_auto(const char* key) const;

  bool flag(const char* key, bool fallback);
  double number(const char* key, double fallback);
  std::int64_t count(const char* key, std::int64_t fallback, std::int64_t least = 1);
  std::string text(const char* key, const char* fallback);
  /// A flag that has that value, or is absent.
  void require(const char* key, bool modelled);

  void fail(Error error) {
    if (!error_) error_ = std::move(error);
  }
  Status status() const { return error_ ? Status(*error_) : Status(Done{}); }

 private:
  std::optional<bool> truth_at(const Json& value) const;
  std::optional<double> number_at(const Json& value) const;

  Json json_ = Json::object();
  std::string where_;
  DeepSpeedReader reader_ = DeepSpeedReader::kPlain;
  std::optional<Error> error_;
};

}  // namespace vramwise
