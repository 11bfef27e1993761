// GPT-NeoX and Pythia (transformers 5: models/gpt_neox).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_gpt_neox(ConfigReader& reader);

}  // namespace vramwise
