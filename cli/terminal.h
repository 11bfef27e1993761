// Whether stdout is a terminal that wants colour.
#pragma once

#include "report/table.h"

namespace vramwise::cli {

/// Colour on a terminal, unless NO_COLOR is set to anything (no-color.org).
TextStyle terminal_style();

}  // namespace vramwise::cli
