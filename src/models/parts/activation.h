// The activations of transformers (activations.py) by the names that config.json has for them.
#pragma once

#include <cstdint>

#include "models/config_reader.h"
#include "models/module.h"

namespace vramwise {

enum class Activation : std::uint8_t { kGelu, kGeluTanh, kGeluNew, kQuickGelu, kRelu, kSilu };

/// Reads the name at `key`; one that is not modelled fails the reader.
Activation read_activation(ConfigReader& reader, const char* key, const char* fallback);

Tensor activate(Activation activation, const Tensor& x);

}  // namespace vramwise
