// Mixtures of experts on Llama's frame (transformers 5: models/mixtral, qwen2_moe, qwen3_moe).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_mixtral(ConfigReader& reader);
Architecture read_qwen2_moe(ConfigReader& reader);
Architecture read_qwen3_moe(ConfigReader& reader);

}  // namespace vramwise
