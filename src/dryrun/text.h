// A dry run as text for people.
#pragma once

#include <string>

#include "dryrun/ledger.h"

namespace vramwise {

std::string describe(const DryRun& run);

}  // namespace vramwise
