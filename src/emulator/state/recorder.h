// What the emulation met and did not do: by name, so that a verdict can say what it hangs on.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace vramwise::emulator {

struct Recorder {
  std::map<std::string, std::int64_t> unmodelled;  ///< refused entry points → calls: the verdict is incomplete
  std::map<std::string, std::int64_t> assumed;     ///< what we answered from an assumption, in words → times
  std::map<std::string, std::int64_t> absent;  ///< driver functions that were asked for by name and that we do not have
  std::map<std::string, std::int64_t> computed;  ///< library calls whose arithmetic was skipped → calls
  std::int64_t kernels = 0;                      ///< launches, all skipped
};

}  // namespace vramwise::emulator
