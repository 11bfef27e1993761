// A Hugging Face model as the command line names it.
#pragma once

#include <string>

#include "base/result.h"
#include "models/config.h"

namespace vramwise::cli {

struct NamedModel {
  std::string path;  ///< of its config.json, or the name in the catalogue
  std::string text;  ///< of that config.json
  ModelConfig model;
  bool is_of_catalogue = false;
};

/// `named`: a name of the catalogue, a config.json, or the folder that holds it.
Result<NamedModel> read_named_model(const std::string& named);

}  // namespace vramwise::cli
