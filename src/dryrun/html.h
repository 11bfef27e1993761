// A dry run as one page: no script, nothing loaded from elsewhere.
#pragma once

#include <string>

#include "dryrun/ledger.h"

namespace vramwise {

/// `command` is shown in the heading.
std::string to_html(const DryRun& run, const std::string& command);

}  // namespace vramwise
