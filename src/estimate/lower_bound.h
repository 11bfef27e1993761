// What a step takes at least, without walking through it: a bound for a search to throw candidates away by.
#pragma once

#include "estimate/ledger.h"

namespace vramwise {

/// Never above estimate_step(config, settings, target).device: what is live at a few moments of the step, added up.
Bytes least_device_bytes(const DecoderConfig& config, const StepSettings& settings, const Target& target);

}  // namespace vramwise
