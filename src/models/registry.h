// Which architectures are modelled: each value of config.json's "model_type" with the function that reads its keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

using ReadArchitecture = Architecture (*)(ConfigReader&);

/// Null where the type is not modelled.
ReadArchitecture find_architecture(std::string_view model_type);

/// Sorted.
std::vector<std::string> known_model_types();

}  // namespace vramwise
