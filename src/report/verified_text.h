// What a plan took on emulated cards, beside what was predicted.
#pragma once

#include <string>

#include "base/json_fwd.h"

namespace vramwise {

/// `verified` of a plan (docs/formats.md): a line for each card that ran. Empty where it is no object.
std::string verified_text(const Json& verified);
/// Whether every card took what was predicted, to the byte.
bool is_as_predicted(const Json& verified);

}  // namespace vramwise
