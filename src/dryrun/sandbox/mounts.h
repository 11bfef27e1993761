// The mounted file systems of this machine, and what a throw-away overlay makes of each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vramwise {

struct Mount {
  std::string point;
  std::string type;  ///< "ext4", "tmpfs", …
};

enum class MountRole {
  kFiles,         ///< is covered by an overlay
  kSystem,        ///< devices and the kernel's own files, with all below: stays as it is
  kRuntime,       ///< sockets of running services, with all below: stays, but can't be written to
  kSharedMemory,  ///< gets an empty one of the run's own
};

MountRole role_of(const Mount& mount);

/// What can be seen of /proc/self/mountinfo: mounts that lie under others are left out. Parents come before what is
/// mounted below them; "/" is the first. Lines of another shape are skipped.
std::vector<Mount> visible_mounts(std::string_view mountinfo);

/// Is `path` strictly below `folder`? Both absolute.
bool is_below(std::string_view path, std::string_view folder);

}  // namespace vramwise
