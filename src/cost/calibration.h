// A file of rates that somebody measured on his own device, in place of the catalogue's.
#pragma once

#include "base/json_fwd.h"
#include "base/result.h"
#include "cost/device_rates.h"

namespace vramwise {

/// `rates` with every figure that `json` has (docs/formats.md, "calibration") in place of its own. Errors: a schema
/// that is none of ours, a figure that is not above 0.
Result<DeviceRates> calibrated(DeviceRates rates, const Json& json);

}  // namespace vramwise
