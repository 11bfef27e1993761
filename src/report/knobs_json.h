// The table of knobs for other trainers as JSON (docs/formats.md, "vramwise.knobs").
#pragma once

#include "base/json_fwd.h"

namespace vramwise {

Json knobs_json();

}  // namespace vramwise
