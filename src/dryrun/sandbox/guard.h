// The process between us and the program: it outlives whichever of the two is killed, and leaves nothing running.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dryrun/process.h"

namespace vramwise {

/// What the guard tells us, one record at a time; `text` follows it in the pipe.
struct GuardRecord {
  enum class Kind { kStarted, kRefused, kEnded } kind = Kind::kStarted;
  int value = 0;                     ///< the program's process id; the error's code; the program's exit code
  std::int64_t host_peak_bytes = 0;  ///< with kEnded
  int text_bytes = 0;
  int remedy_bytes = 0;
};

/// Runs the program and reports to the pipe `to_us`. Ends everything when `life_line`, a pipe of which we have the
/// other end, is closed. To be called in a fork of ours; never returns.
[[noreturn]] void guard_program(const std::vector<std::string>& command, const ProgramOptions& options, int life_line,
                                int to_us);

}  // namespace vramwise
