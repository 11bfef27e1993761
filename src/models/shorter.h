// Models of the same layers, but fewer: what is alike in every layer can be told from a few of them.
#pragma once

#include <string_view>
#include <vector>

#include "models/config.h"

namespace vramwise {

/// The model of this text of a config.json with one and with two layers. Empty where its layers are not all known to be
/// alike, or their number is not a plain key of the text.
std::vector<ModelConfig> shorter_models(std::string_view config, const ModelConfig& whole);

}  // namespace vramwise
