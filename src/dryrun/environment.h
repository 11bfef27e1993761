// What a dry run changes for the program: what is loaded before it, one folder in front of its Python path, and
// trackers switched off.
#pragma once

#include <map>
#include <string>

#include "base/json_fwd.h"
#include "base/result.h"
#include "dryrun/run.h"

namespace vramwise {

/// Set for programs whose writes are thrown away already: a dry run in a dry run.
inline constexpr const char* kInOverlay = "VRAMWISE_OVERLAY";

/// Added to the program's environment, or put over it. `folder` is the run's own, with write_hook's files.
std::map<std::string, std::string> environment_of(const DryRunOptions& options, const Json& machine,
                                                  const std::string& folder);

/// Puts the Python side of a dry run, and the sources of the extension for true values, into `folder`.
Status write_hook(const std::string& folder);

/// Where the extension for true values is kept once it is built for a PyTorch, made if it is missing. Empty: there is
/// no such place.
std::string values_cache();

}  // namespace vramwise
