// DeepSpeed reads most of its file as it stands, and zero_optimization through pydantic (2, without its strict mode).

#include "estimate/deepspeed_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <utility>

namespace vramwise {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 40;

/// What pydantic takes a text for.
std::optional<bool> truth_of(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* yes : {"1", "true", "t", "yes", "y", "on"})
    if (text == yes) return true;
  for (const char* no : {"0", "false", "f", "no", "n", "off"})
    if (text == no) return false;
  return std::nullopt;
}

}  // namespace

Error deepspeed_stops(std::string what, std::string remedy) { return world_error(std::move(what), std::move(remedy)); }

Error unmodelled_setting(const std::string& what) {
  return incomplete(fmt::format("{} is not modelled", what), "`vramwise dryrun` measures it");
}

DeepSpeedSection::DeepSpeedSection(const Json& parent, const char* key, std::string where, DeepSpeedReader reader)
    : where_(std::move(where)), reader_(reader) {
  const auto found = parent.find(key);
  if (found == parent.end() || found->is_null() || *found == "auto") return;
  if (found->is_object())
    json_ = *found;
  else
    error_ = deepspeed_stops(fmt::format("{}: {} must be an object", where_, key));
  where_ += fmt::format(": {}", key);
}

bool DeepSpeedSection::has(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && !found->is_null() && *found != "auto";
}

bool DeepSpeedSection::is_auto(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && *found == "auto";
}

bool DeepSpeedSection::flag(const char* key, bool fallback) {
  if (!has(key)) return fallback;
  if (const std::optional<bool> truth = truth_at(json_.at(key))) return *truth;
  fail(deepspeed_stops(fmt::format("{}: {} must be true or false", where_, key)));
  return fallback;
}

double DeepSpeedSection::number(const char* key, double fallback) {
  if (!has(key)) return fallback;
  if (const std::optional<double> number = number_at(json_.at(key))) return *number;
  fail(deepspeed_stops(fmt::format("{}: {} must be a number", where_, key)));
  return fallback;
}

std::int64_t DeepSpeedSection::count(const char* key, std::int64_t fallback, std::int64_t least) {
  const double value = number(key, static_cast<double>(fallback));
  if (value >= static_cast<double>(least) && value <= static_cast<double>(kMost) && value == std::floor(value))
    return static_cast<std::int64_t>(value);
  fail(deepspeed_stops(fmt::format("{}: {} must be a whole number from {} to {}", where_, key, least, kMost)));
  return fallback;
}

std::string DeepSpeedSection::text(const char* key, const char* fallback) {
  if (!has(key)) return fallback;
  if (json_.at(key).is_string()) return json_.at(key).get<std::string>();
  fail(deepspeed_stops(fmt::format("{}: {} must be a text", where_, key)));
  return fallback;
}

void DeepSpeedSection::require(const char* key, bool modelled) {
  if (flag(key, modelled) != modelled)
    fail(unmodelled_setting(fmt::format("{}: {} {}", where_, key, modelled ? "false" : "true")));
}

std::optional<bool> DeepSpeedSection::truth_at(const Json& value) const {
  if (value.is_boolean()) return value.get<bool>();
  if (reader_ == DeepSpeedReader::kPlain) return std::nullopt;
  if (value.is_string()) return truth_of(value.get<std::string>());
  if (value.is_number() && (value == 0 || value == 1)) return value == 1;
  return std::nullopt;
}

std::optional<double> DeepSpeedSection::number_at(const Json& value) const {
  if (value.is_number()) return value.get<double>();
  if (reader_ == DeepSpeedReader::kPlain) return std::nullopt;
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_string()) return std::nullopt;
  const auto text = value.get<std::string>();
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return static_cast<double>(number);
}

}  // namespace vramwise
