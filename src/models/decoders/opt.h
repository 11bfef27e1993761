// OPT (transformers 5: models/opt).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_opt(ConfigReader& reader);

}  // namespace vramwise
