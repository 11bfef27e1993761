// The keys that Llama and its kin have in a config.json.
#pragma once

#include "models/config_reader.h"
#include "models/decoders/llama.h"

namespace vramwise {

LlamaConfig llama_config(ConfigReader& reader);
LlamaConfig mistral_config(ConfigReader& reader);
LlamaConfig qwen2_config(ConfigReader& reader);
LlamaConfig qwen3_config(ConfigReader& reader);

}  // namespace vramwise
