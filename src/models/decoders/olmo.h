// OLMo and OLMo 2 (transformers 5: models/olmo, olmo2).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_olmo(ConfigReader& reader);
Architecture read_olmo2(ConfigReader& reader);

}  // namespace vramwise
