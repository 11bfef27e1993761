// A view of the file system in which everything can be written and nothing lasts.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace vramwise {

struct OverlayOptions {
  std::string scratch;                    ///< an empty folder: what is written lies there, until somebody removes it
  std::vector<std::string> real_folders;  ///< existing ones in which writing has its usual effect
};

/// Puts this process, and those that it starts, into a mount namespace of its own, where overlays cover all files. For
/// a child between fork and exec: there is no way back, also after an error. As root, else in a user namespace that
/// maps the user to itself.
/// Errors (kUsage): this machine doesn't allow it; the message says which step was refused.
Status enter_throwaway_overlay(const OverlayOptions& options);

}  // namespace vramwise
