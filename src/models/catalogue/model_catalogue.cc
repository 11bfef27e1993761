// The catalogue is text that people edit, compiled in.

#include "models/catalogue/model_catalogue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "base/text.h"

namespace vramwise {

namespace internal {
extern const std::string_view kModelsJson;
}

namespace {

std::vector<CatalogueModel> parse() {
  Result<Json> json = parse_json(internal::kModelsJson, "models.json");
  VRAMWISE_CHECK_THAT(json.ok(), "data/models.json is no JSON");
  std::vector<CatalogueModel> models;
  for (const Json& entry : *json) {
    models.push_back({.names = entry.at("names").get<std::vector<std::string>>(),
                      .parameters = entry.at("parameters").get<std::int64_t>(),
                      .config = entry.at("config").dump()});
  }
  return models;
}

std::string_view without_owner(std::string_view name) { return name.substr(name.rfind('/') + 1); }

}  // namespace

const std::vector<CatalogueModel>& model_catalogue() {
  static const std::vector<CatalogueModel> kModels = parse();
  return kModels;
}

const CatalogueModel* find_model(std::string_view name) {
  const std::string wanted = to_lower(name);
  const bool has_owner = wanted.find('/') != std::string::npos;
  const CatalogueModel* found = nullptr;
  for (const CatalogueModel& model : model_catalogue()) {
    for (const std::string& each : model.names) {
      const std::string known = to_lower(each);
      if (known == wanted) return &model;
      if (has_owner || without_owner(known) != wanted) continue;
      if (found != nullptr && found != &model) return nullptr;
      found = &model;
    }
  }
  return found;
}

std::vector<std::string> names_like(std::string_view name, std::size_t most) {
  // What is far longer than any name is none of them, and comparing it would take time.
  constexpr std::size_t kLongest = 128;
  if (name.empty() || name.size() > kLongest) return {};
  const std::string wanted = to_lower(without_owner(name));
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const CatalogueModel& model : model_catalogue()) {
    for (const std::string& each : model.names) {
      const std::string known = to_lower(without_owner(each));
      const bool is_part = wanted.size() >= 3 && known.find(wanted) != std::string::npos;
      const std::size_t distance = is_part ? 1 : edit_distance(wanted, known);
      if (is_part || 3 * distance <= wanted.size()) near.emplace_back(distance, each);
    }
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (near.size() > most) near.resize(most);
  std::vector<std::string> names;
  names.reserve(near.size());
  for (auto& [distance, known] : near) names.push_back(std::move(known));
  return names;
}

}  // namespace vramwise
