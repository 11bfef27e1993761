// Phi 1, 1.5 and 2, and Phi 3 and 4 (transformers 5: models/phi, phi3).
#pragma once

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

Architecture read_phi(ConfigReader& reader);
Architecture read_phi3(ConfigReader& reader);

}  // namespace vramwise
