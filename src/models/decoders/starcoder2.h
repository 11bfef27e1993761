// StarCoder 2 (transformers 5: models/starcoder2).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_starcoder2(ConfigReader& reader);

}  // namespace vramwise
