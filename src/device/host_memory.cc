// A container's memory is not the host's: the kernel kills at the tightest limit of the process's control group and all
// its parents. The file formats are those of the kernel's documentation (admin-guide/cgroup-v2.rst,
// admin-guide/cgroup-v1/memory.rst, filesystems/proc.rst).
//
// The group's folder is found as its mount says: /proc/self/cgroup names the path from the root of the hierarchy, and
// /proc/self/mountinfo which part of that hierarchy is mounted where (inside Docker often the group itself).
#include "device/host_memory.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>

#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

// Lines of "key value …" or "key: value kB".
std::map<std::string, std::int64_t> read_table(System& system, const std::string& path) {
  std::map<std::string, std::int64_t> table;
  const auto text = system.read_file(path);
  if (!text) return table;
  for (const std::string& line : split(*text, '\n')) {
    const std::size_t end = line.find_first_of(": \t");
    if (end == std::string::npos) continue;
    const char* start = line.c_str() + line.find_first_not_of(": \t", end);
    if (line.find_first_not_of(": \t", end) == std::string::npos) continue;
    char* stop = nullptr;
    errno = 0;
    const std::int64_t value = std::strtoll(start, &stop, 10);
    if (stop != start && errno == 0) table[line.substr(0, end)] = value;
  }
  return table;
}

std::optional<Bytes> find_bytes(const std::map<std::string, std::int64_t>& table, const std::string& key,
                                std::int64_t unit = 1) {
  const auto found = table.find(key);
  if (found == table.end() || found->second < 0 || found->second > INT64_MAX / unit) return std::nullopt;
  return Bytes(found->second) * unit;
}

std::optional<Bytes> read_bytes(System& system, const std::string& path) {
  const auto number = read_number(system, path);
  if (!number || *number < 0) return std::nullopt;
  return Bytes(*number);
}

// A hierarchy that is mounted here, and this process's place in it.
struct Hierarchy {
  bool v2 = false;
  std::string mount_point;
  std::string path;  // of the process's group, relative to mount_point: "" or "/a/b"
};

bool has_controller(const std::string& list, const std::string& name) {
  const auto names = split(list, ',');
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The path that /proc/self/cgroup gives for the v2 hierarchy ("0::/path") or for v1's memory controller
// ("4:memory:/path").
std::optional<std::string> own_path(System& system, bool v2) {
  const auto text = system.read_file("/proc/self/cgroup");
  if (!text) return std::nullopt;
  for (const std::string& line : split(*text, '\n')) {
    const auto parts = split(line, ':');
    if (parts.size() < 3) continue;
    if (v2 ? parts[0] == "0" && parts[1].empty() : has_controller(parts[1], "memory")) {
      return line.substr(parts[0].size() + parts[1].size() + 2);
    }
  }
  return std::nullopt;
}

// `path` as seen from a mount of the part of the hierarchy below `root`.
std::string below_mount(std::string path, const std::string& root) {
  const bool inside = path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
  if (root != "/" && inside) path.erase(0, root.size());
  // "/../x": a group outside this namespace; only its mounted root can be read.
  if (path == "/" || path.empty() || path.starts_with("/..")) return {};
  return path;
}

std::vector<Hierarchy> find_hierarchies(System& system) {
  std::vector<Hierarchy> found;
  const auto mounts = system.read_file("/proc/self/mountinfo");
  for (const std::string& line : split(mounts.value_or(""), '\n')) {
    // "29 23 0:26 ROOT POINT options… - TYPE source super-options"
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto left = split(std::string_view(line).substr(0, dash), ' ');
    const auto right = split(std::string_view(line).substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    const bool v2 = right[0] == "cgroup2";
    if (!v2 && !(right[0] == "cgroup" && has_controller(right[2], "memory"))) continue;
    // Some sandboxes mount the hierarchy and name no group: then its root is what applies.
    found.push_back({v2, left[4], below_mount(own_path(system, v2).value_or("/"), left[3])});
  }
  if (found.empty()) {
    if (const auto path = own_path(system, true)) found.push_back({true, "/sys/fs/cgroup", below_mount(*path, "/")});
    if (const auto path = own_path(system, false)) {
      found.push_back({false, "/sys/fs/cgroup/memory", below_mount(*path, "/")});
    }
  }
  return found;
}

// The limits of one group. "max" (v2) is no number, so it is no limit.
void add_limits(System& system, const Hierarchy& hierarchy, const std::string& path, std::vector<CgroupLimit>& limits) {
  const std::string folder = hierarchy.mount_point + path;
  const auto usage = read_bytes(system, folder + (hierarchy.v2 ? "/memory.current" : "/memory.usage_in_bytes"));
  const auto stat = read_table(system, folder + "/memory.stat");
  const auto reclaimable = find_bytes(stat, hierarchy.v2 ? "inactive_file" : "total_inactive_file");
  const auto add = [&](const std::string& file, std::optional<Bytes> limit) {
    if (limit) limits.push_back({folder, file, *limit, usage, reclaimable});
  };
  if (hierarchy.v2) {
    add("memory.max", read_bytes(system, folder + "/memory.max"));
    add("memory.high", read_bytes(system, folder + "/memory.high"));
  } else {
    add("memory.limit_in_bytes", read_bytes(system, folder + "/memory.limit_in_bytes"));
    // Says what parents allow, also those above the mount, which can't be read.
    add("hierarchical_memory_limit", find_bytes(stat, "hierarchical_memory_limit"));
  }
}

std::vector<CgroupLimit> find_limits(System& system, std::optional<Bytes> host_total) {
  std::vector<CgroupLimit> limits;
  for (const Hierarchy& hierarchy : find_hierarchies(system)) {
    std::string path = hierarchy.path;
    while (true) {
      add_limits(system, hierarchy, path, limits);
      if (path.empty()) break;
      path.erase(path.find_last_of('/'));
    }
  }
  // v1 writes "no limit" as the largest number of whole pages (about 2^63); more than the host has binds nobody either.
  const Bytes largest = host_total.value_or(Bytes(std::int64_t{1} << 60));
  std::erase_if(limits, [&](const CgroupLimit& limit) { return limit.limit >= largest; });
  return limits;
}

std::optional<std::string> find_cpu_name(System& system) {
  for (const std::string& line : split(system.read_file("/proc/cpuinfo").value_or(""), '\n')) {
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && trim(line.substr(0, colon)) == "model name")
      return std::string(trim(line.substr(colon + 1)));
  }
  return std::nullopt;
}

}  // namespace

HostMemory probe_host_memory(System& system) {
  HostMemory host;
  host.cpu_name = find_cpu_name(system);
  const auto meminfo = read_table(system, "/proc/meminfo");
  host.total = find_bytes(meminfo, "MemTotal", 1024);
  host.available = find_bytes(meminfo, "MemAvailable", 1024);
  // Kernels before 3.14 have no MemAvailable; what can surely be had is then this.
  if (!host.available) host.available = find_bytes(meminfo, "MemFree", 1024);
  host.swap_total = find_bytes(meminfo, "SwapTotal", 1024);
  host.swap_free = find_bytes(meminfo, "SwapFree", 1024);
  host.limits = find_limits(system, host.total);
  if (system.exists("/dev/shm")) {
    if (const auto space = system.disk_space("/dev/shm")) {
      host.shm_total = space->total;
      host.shm_free = space->available;
    }
  }
  return host;
}

std::optional<Bytes> HostMemory::limit() const {
  if (limits.empty()) return std::nullopt;
  return std::min_element(limits.begin(), limits.end(), [](auto& a, auto& b) { return a.limit < b.limit; })->limit;
}

std::optional<Bytes> HostMemory::budget() const {
  std::optional<Bytes> budget = available;
  for (const CgroupLimit& limit : limits) {
    const Bytes usage = std::max(limit.usage.value_or(Bytes(0)) - limit.reclaimable.value_or(Bytes(0)), Bytes(0));
    const Bytes room = limit.limit - usage;
    budget = budget ? std::min(*budget, room) : room;
  }
  if (budget) budget = std::max(*budget, Bytes(0));
  return budget;
}

}  // namespace vramwise
