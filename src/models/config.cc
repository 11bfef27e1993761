// What all architectures' files have in common; the rest is read by the function that the registry names.

#include "models/config.h"

#include <fmt/format.h>

#include "base/json.h"
#include "models/config_reader.h"
#include "models/registry.h"

namespace vramwise {
namespace {

std::optional<DType> dtype_named(const std::string& name) {
  if (name == "float32") return DType::kFloat32;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float16") return DType::kFloat16;
  return std::nullopt;
}

ModelConfig read(ConfigReader& reader) {
  ModelConfig config;
  config.model_type =
      reader.text(reader.has("model_type") ? "model_type" : "_class_name", "");  // diffusers has the latter
  if (reader.error()) return config;
  const ReadArchitecture read_architecture = find_architecture(config.model_type);
  if (read_architecture == nullptr) {
    reader.fail(not_modelled(config.model_type.empty()
                                 ? std::string("no model_type is given")
                                 : fmt::format("the architecture \"{}\" is not modelled", config.model_type)));
    return config;
  }
  config.architecture = read_architecture(reader);
  config.saved_dtype = dtype_named(reader.text(reader.has("dtype") ? "dtype" : "torch_dtype", ""));
  for (const char* key : {"hidden_size", "n_embd", "d_model"})  // attribute_map of transformers
    if (reader.has(key) && config.hidden_size == 0) config.hidden_size = reader.dimension(key, 1);
  return config;
}

}  // namespace

Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where) {
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, where));
  if (!json.is_object()) return world_error(fmt::format("{}: not a JSON object", where));
  ConfigReader reader(json);
  ModelConfig config = read(reader);
  if (!reader.error()) return config;
  Error error = *reader.error();
  error.what = fmt::format("{}: {}", where, error.what);
  return error;
}

}  // namespace vramwise
