// ConfigReader: the keys of a config.json one by one, each within bounds, with the first error kept.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace vramwise {

inline constexpr std::int64_t kMostOfADimension = 1 << 24;
inline constexpr std::int64_t kMostLayers = 2048;
inline constexpr std::int64_t kMostPositions = std::int64_t{1} << 40;

/// The first error stays, and everything after it yields the fallback: a reading function goes on as if all were well,
/// and its caller looks at error() at the end. Whatever the text holds, dimensions are positive and small enough that
/// products of a few stay within 64 bits. `json`, an object, must outlive the reader.
class ConfigReader {
 public:
  explicit ConfigReader(const Json& json) : json_(json) {}

  bool has(const char* key) const;      ///< is there and not null
  bool is_null(const char* key) const;  ///< is there and null
  std::int64_t dimension(const char* key, std::int64_t fallback, std::int64_t most = kMostOfADimension);
  int layers(const char* key, int fallback) { return static_cast<int>(dimension(key, fallback, kMostLayers)); }
  /// 0 where the file doesn't say.
  std::int64_t positions(const char* key) { return has(key) ? dimension(key, 1, kMostPositions) : 0; }
  std::int64_t count(const char* key, std::int64_t fallback) { return get<std::int64_t>(key, fallback); }
  bool flag(const char* key, bool fallback) { return get<bool>(key, fallback); }
  double number(const char* key, double fallback) { return get<double>(key, fallback); }
  std::string text(const char* key, const char* fallback) { return get<std::string>(key, fallback); }
  /// Reads the object at `key`, or an empty one; its error is the caller's to take.
  ConfigReader inner(const char* key) const;
  void take_error(const ConfigReader& inner) {
    if (inner.error_) fail(*inner.error_);
  }
  /// A list of dimensions, each up to `most`; the fallback where there is none.
  std::vector<std::int64_t> dimensions(const char* key, const std::vector<std::int64_t>& fallback, std::int64_t most);
  /// `count` dimensions: a list of so many, or one number for all of them.
  std::vector<std::int64_t> for_each(const char* key, std::int64_t fallback, std::size_t count);
  /// How many entries the object at `key` has; 0 where there is none.
  std::int64_t entries(const char* key) const;
  /// The first of "architectures", a class of transformers; empty where the file doesn't say.
  std::string architecture();
  std::vector<std::string> texts(const char* key) { return get<std::vector<std::string>>(key, {}); }
  std::vector<std::int64_t> counts(const char* key) { return get<std::vector<std::int64_t>>(key, {}); }
  /// "default" where none is named.
  std::string rope_type() const;
  /// A number within rope_parameters (rope_scaling before transformers 5).
  double rope_number(const char* key, double fallback) const;

  /// Fails unless the text at `key` is one of `modelled`.
  void require(const char* key, const char* fallback, std::initializer_list<const char*> modelled);
  /// Fails unless `heads` are a multiple of `kv_heads`.
  void require_groups(std::int64_t heads, std::int64_t kv_heads);
  /// Fails for rotary positions that change what is allocated while the model runs.
  void require_fixed_rotary();

  void fail(Error error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <typename T>
  T get(const char* key, T fallback) {
    Result<T> value = json_get_or<T>(json_, key, fallback);
    if (value.ok()) return std::move(value).value();
    fail(value.error());
    return fallback;
  }

  const Json& json_;
  std::optional<Error> error_;
};

/// ErrorCode::kIncomplete, with a dry run as the way out.
Error not_modelled(const std::string& what);

}  // namespace vramwise
