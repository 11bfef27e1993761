// Granite (transformers 5: models/granite).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_granite(ConfigReader& reader);

}  // namespace vramwise
