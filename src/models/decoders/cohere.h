// Command R (transformers 5: models/cohere).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_cohere(ConfigReader& reader);

}  // namespace vramwise
