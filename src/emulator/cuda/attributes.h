// The attributes of a card, as cudaDeviceGetAttribute and cuDeviceGetAttribute number them.
#pragma once

#include <optional>

#include "emulator/state/machine.h"

namespace vramwise::emulator {

/// nullopt: no such attribute.
std::optional<int> device_attribute(const Machine& machine, int device, int attribute);

}  // namespace vramwise::emulator
