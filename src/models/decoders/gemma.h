// Gemma, Gemma 2 and the text models of Gemma 3 (transformers 5: models/gemma, gemma2, gemma3).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_gemma(ConfigReader& reader);
Architecture read_gemma2(ConfigReader& reader);
Architecture read_gemma3_text(ConfigReader& reader);

}  // namespace vramwise
