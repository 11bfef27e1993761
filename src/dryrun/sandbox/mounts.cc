// /proc/self/mountinfo (proc(5)): "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE OPTIONS", with
// spaces, tabs, newlines and backslashes in names as \ooo.
#include "dryrun/sandbox/mounts.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <string>

namespace vramwise {
namespace {

struct Entry {
  int id = 0;
  int parent = 0;
  Mount mount;
};

std::string unescaped(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto octal = [&](std::size_t k) { return i + k < text.size() && text[i + k] >= '0' && text[i + k] <= '7'; };
    if (text[i] == '\\' && octal(1) && octal(2) && octal(3)) {
      result += static_cast<char>(((text[i + 1] - '0') << 6) | ((text[i + 2] - '0') << 3) | (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

bool parse_line(const std::string& line, Entry& entry) {
  std::istringstream words(line);
  std::string device, root, point, word;
  if (!(words >> entry.id >> entry.parent >> device >> root >> point)) return false;
  while (words >> word && word != "-") {
  }
  if (!(words >> entry.mount.type)) return false;
  entry.mount.point = unescaped(point);
  return true;
}

/// Something else is mounted at the same place on top of it, or beside it in the same parent at a folder above.
bool is_hidden(const Entry& entry, const std::vector<Entry>& all) {
  return std::any_of(all.begin(), all.end(), [&](const Entry& other) {
    if (other.id == entry.id) return false;
    const bool on_top = other.parent == entry.id && other.mount.point == entry.mount.point;
    return on_top || (other.parent == entry.parent && is_below(entry.mount.point, other.mount.point));
  });
}

}  // namespace

bool is_below(std::string_view path, std::string_view folder) {
  if (folder == "/") return path.size() > 1;
  return path.size() > folder.size() + 1 && path.starts_with(folder) && path[folder.size()] == '/';
}

MountRole role_of(const Mount& mount) {
  static constexpr std::array kSystemTypes = {
      "proc",      "sysfs",   "devtmpfs",   "devpts",   "cgroup",    "cgroup2",    "mqueue",
      "debugfs",   "tracefs", "securityfs", "configfs", "bpf",       "pstore",     "efivarfs",
      "hugetlbfs", "fusectl", "autofs",     "nsfs",     "selinuxfs", "rpc_pipefs", "binfmt_misc"};
  if (mount.point == "/dev/shm") return MountRole::kSharedMemory;
  for (const char* folder : {"/proc", "/sys", "/dev"}) {
    if (mount.point == folder || is_below(mount.point, folder)) return MountRole::kSystem;
  }
  if (mount.point == "/run" || is_below(mount.point, "/run")) return MountRole::kRuntime;
  const bool system = std::find(kSystemTypes.begin(), kSystemTypes.end(), mount.type) != kSystemTypes.end();
  return system ? MountRole::kSystem : MountRole::kFiles;
}

std::vector<Mount> visible_mounts(std::string_view mountinfo) {
  std::vector<Entry> entries;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    if (Entry entry; parse_line(line, entry)) entries.push_back(std::move(entry));
  }
  std::vector<Mount> visible;
  for (const Entry& entry : entries) {
    if (!is_hidden(entry, entries)) visible.push_back(entry.mount);
  }
  // A folder's path is shorter than those below it.
  std::stable_sort(visible.begin(), visible.end(),
                   [](const Mount& a, const Mount& b) { return a.point.size() < b.point.size(); });
  return visible;
}

}  // namespace vramwise
