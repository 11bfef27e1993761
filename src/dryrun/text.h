// A dry run as text for people.
#pragma once

#include <string>

#include "dryrun/ledger.h"

namespace vramwise {

struct TextStyle {
  bool colour = false;  ///< escape sequences of terminals
};

std::string describe(const DryRun& run, TextStyle style = {});

}  // namespace vramwise
