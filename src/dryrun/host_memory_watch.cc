// What a process holds is counted without the files that it has mapped: those can be dropped. Ten looks a second see
// memory that is filled at some GB a second before the kernel's out-of-memory killer does.
#include "dryrun/host_memory_watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/units.h"
#include "device/host_memory.h"

namespace vramwise {
namespace {

/// /proc/PID/statm: pages in all, resident, of those shared with files.
Bytes resident_of(int process) {
  std::ifstream file(fmt::format("/proc/{}/statm", process));
  std::int64_t all = 0, resident = 0, of_files = 0;
  if (!(file >> all >> resident >> of_files)) return Bytes(0);
  return Bytes(resident - of_files) * sysconf(_SC_PAGESIZE);
}

}  // namespace

Bytes host_memory_floor(Bytes total) { return std::max(total / 50, std::min(Bytes::mib(768), total / 4)); }

HostMemoryWatch::HostMemoryWatch() : HostMemoryWatch(std::make_shared<RealSystem>(), resident_of) {}

std::string HostMemoryWatch::operator()(const std::function<std::vector<int>()>& processes) {
  const HostMemory memory = probe_host_memory(*system_);
  const auto free = memory.budget();
  const auto limit = memory.limit();
  const Bytes all = limit ? std::min(*limit, memory.total.value_or(*limit)) : memory.total.value_or(Bytes(0));
  if (!free || all <= Bytes(0) || *free >= host_memory_floor(all)) return {};
  Bytes held;
  for (const int process : processes()) held += resident_(process);
  if (held < all / 4) return {};  // others have it
  return fmt::format("the program holds {} of the {} of host memory, and {} are left", format_size(held),
                     format_size(all), format_size(*free));
}

}  // namespace vramwise
