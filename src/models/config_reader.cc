// Keys of config.json, in the old and the new names that some have.

#include "models/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "models/registry.h"

namespace vramwise {

Error not_modelled(const std::string& what) {
  return incomplete(what, fmt::format("known are {}; `vramwise dryrun --gpu CARD -- python your_training.py` measures "
                                      "any model on a card that need not be there",
                                      fmt::join(known_model_types(), ", ")));
}

bool ConfigReader::has(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && !found->is_null();
}

bool ConfigReader::is_null(const char* key) const { return json_.contains(key) && !has(key); }

std::int64_t ConfigReader::dimension(const char* key, std::int64_t fallback, std::int64_t most) {
  const auto value = get<std::int64_t>(key, fallback);
  if (value >= 1 && value <= most) return value;
  fail(usage_error(fmt::format("{} is {}; it must be from 1 to {}", key, value, most)));
  return fallback;
}

std::vector<std::int64_t> ConfigReader::dimensions(const char* key, const std::vector<std::int64_t>& fallback,
                                                   std::int64_t most) {
  if (!has(key)) return fallback;
  auto values = get<std::vector<std::int64_t>>(key, fallback);
  const bool are_fine =
      !values.empty() && std::all_of(values.begin(), values.end(), [&](auto v) { return v >= 1 && v <= most; });
  if (are_fine) return values;
  fail(usage_error(fmt::format("{} must be numbers from 1 to {}", key, most)));
  return fallback;
}

ConfigReader ConfigReader::inner(const char* key) const {
  static const Json kEmpty = Json::object();
  const auto found = json_.find(key);
  return ConfigReader(found != json_.end() && found->is_object() ? *found : kEmpty);
}

std::vector<std::int64_t> ConfigReader::for_each(const char* key, std::int64_t fallback, std::size_t count) {
  const auto found = json_.find(key);
  if (found == json_.end() || !found->is_array())
    return std::vector<std::int64_t>(count, dimension(key, fallback, kMostLayers));
  std::vector<std::int64_t> list = dimensions(key, {}, kMostLayers);
  if (list.size() == count) return list;
  fail(usage_error(fmt::format("{} has {} entries; it must have {}", key, list.size(), count)));
  return std::vector<std::int64_t>(count, fallback);
}

std::int64_t ConfigReader::entries(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && found->is_object() ? static_cast<std::int64_t>(found->size()) : 0;
}

std::string ConfigReader::architecture() {
  if (!has("architectures")) return {};
  const std::vector<std::string> names = texts("architectures");
  return names.empty() ? std::string() : names.front();
}

void ConfigReader::require(const char* key, const char* fallback, std::initializer_list<const char*> modelled) {
  const std::string value = text(key, fallback);
  if (std::find(modelled.begin(), modelled.end(), value) == modelled.end())
    fail(not_modelled(fmt::format("{} \"{}\" is not modelled for this architecture", key, value)));
}

void ConfigReader::require_groups(std::int64_t heads, std::int64_t kv_heads) {
  if (heads % kv_heads != 0)
    fail(usage_error(fmt::format("num_key_value_heads {} does not divide num_attention_heads {}", kv_heads, heads)));
}

namespace {

// What is named rope_parameters, and rope_scaling before transformers 5.
const Json* rope_member(const Json& config, const char* key) {
  for (const char* outer : {"rope_parameters", "rope_scaling"}) {
    const auto rope = config.find(outer);
    if (rope != config.end() && rope->is_object() && rope->contains(key)) return &rope->at(key);
  }
  return nullptr;
}

}  // namespace

std::string ConfigReader::rope_type() const {
  for (const char* key : {"rope_type", "type"})
    if (const Json* type = rope_member(json_, key); type != nullptr && type->is_string())
      return type->get<std::string>();
  return "default";
}

double ConfigReader::rope_number(const char* key, double fallback) const {
  const Json* number = rope_member(json_, key);
  return number != nullptr && number->is_number() ? number->get<double>() : fallback;
}

// dynamic and longrope compute their frequencies anew while the model runs; the others differ in values only.
void ConfigReader::require_fixed_rotary() {
  constexpr std::array kFixedFrequencies = {"default", "linear", "llama3", "yarn"};
  const std::string type = rope_type();
  if (std::find(kFixedFrequencies.begin(), kFixedFrequencies.end(), type) == kFixedFrequencies.end())
    fail(not_modelled(fmt::format("rotary positions of type {} are not modelled", type)));
}

}  // namespace vramwise
