// A card as cuDNN wants it described.
#pragma once

#include <string>

#include "emulator/state/machine.h"

namespace vramwise::emulator {

/// The JSON that a CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR takes (cuDNN 9.8 and later) for a visible card.
std::string dnn_device_description(const Machine& machine, int device);

}  // namespace vramwise::emulator
