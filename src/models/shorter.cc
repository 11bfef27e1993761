// See shorter.h.
#include "models/shorter.h"

#include <algorithm>
#include <optional>

#include "base/json.h"
#include "tape/tape.h"

namespace vramwise {
namespace {

std::vector<int> kinds_of(const ModelConfig& model) {
  tape::Tape tape(tape::Hardware{});
  return model.architecture.make(tape, DType::kFloat32, ForwardOptions{})->layer_kinds();
}

std::optional<ModelConfig> with_layers(Json config, int layers) {
  for (const char* key : {"num_hidden_layers", "n_layer", "num_layers"})
    if (config.contains(key)) config[key] = layers;
  Result<ModelConfig> model = parse_model_config(config.dump(), "config.json");
  if (!model.ok() || model->architecture.layers != layers) return std::nullopt;
  return std::move(*model);
}

}  // namespace

std::vector<ModelConfig> shorter_models(std::string_view config, const ModelConfig& whole) {
  const std::vector<int> kinds = kinds_of(whole);
  if (kinds.empty() || std::ranges::adjacent_find(kinds, std::ranges::not_equal_to()) != kinds.end()) return {};
  const Result<Json> json = parse_json(config, "config.json");
  if (!json.ok()) return {};
  std::vector<ModelConfig> models;
  for (const int layers : {1, 2}) {
    std::optional<ModelConfig> model = with_layers(*json, layers);
    if (!model || kinds_of(*model) != std::vector<int>(static_cast<std::size_t>(layers), kinds.front())) return {};
    models.push_back(std::move(*model));
  }
  return models;
}

}  // namespace vramwise
