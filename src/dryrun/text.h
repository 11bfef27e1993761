// A dry run as text for people.
#pragma once

#include <cstdint>
#include <string>

#include "dryrun/ledger.h"
#include "report/table.h"

namespace vramwise {

/// "backward, step 3", "evaluation, after step 3". `step`: optimizer steps that were complete by then.
std::string place_text(const std::string& phase, std::int64_t step);

std::string describe(const DryRun& run, TextStyle style = {});

}  // namespace vramwise
