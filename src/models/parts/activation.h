// The activations of transformers (activations.py) by the names that config.json has for them.
#pragma once

#include <cstdint>
#include <string>

#include "models/config_reader.h"
#include "models/module.h"

namespace vramwise {

enum class Activation : std::uint8_t { kGelu, kGeluTanh, kGeluNew, kQuickGelu, kRelu, kSilu };

/// A name that is not modelled fails the reader; `key` is where it stands.
Activation activation_named(ConfigReader& reader, const char* key, const std::string& wanted);
/// Reads the name at `key`.
Activation read_activation(ConfigReader& reader, const char* key, const char* fallback);

Tensor activate(Activation activation, const Tensor& x);

}  // namespace vramwise
