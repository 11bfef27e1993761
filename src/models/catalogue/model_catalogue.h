// Popular models by their names on the Hugging Face Hub, with what of their config.json decides about memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vramwise {

struct CatalogueModel {
  std::vector<std::string> names;  ///< "meta-llama/Llama-3.1-8B", and others of the same dimensions
  std::int64_t parameters = 0;     ///< as published; tied ones once
  std::string config;              ///< the text of a config.json
};

/// The whole catalogue (data/models.json), in its order.
const std::vector<CatalogueModel>& model_catalogue();

/// The model of this name, in any case, with or without its owner where that leaves one; null: not in the catalogue.
const CatalogueModel* find_model(std::string_view name);

/// Up to `most` names that are spelt like `name`, the nearest first.
std::vector<std::string> names_like(std::string_view name, std::size_t most = 3);

}  // namespace vramwise
