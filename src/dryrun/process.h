// Starting a program with an environment of its own, and waiting for it and all that it started.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise {

struct ProgramOptions {
  std::map<std::string, std::string> environment = {};  ///< added to, or put over, this process's own
  bool output_to_stderr = false;                        ///< its stdout goes to stderr, as ours carries the result
  std::function<Status()> prepare = {};                 ///< called in the child before the program starts
  std::string removed_with_guard = {};  ///< a folder that goes with ProgramEnd::guard, or when we are killed
  /// Asked several times a second while the program runs, with a function that lists its processes; a text ends it.
  std::function<std::string(const std::function<std::vector<int>()>&)> reason_to_end = {};
};

struct ProgramEnd {
  int exit_code = 0;                 ///< or 128 + the signal that killed it
  std::string ended_because = {};    ///< what `reason_to_end` said; else empty
  Bytes host_peak;                   ///< the most that one of its processes had resident in host memory
  std::shared_ptr<void> guard = {};  ///< watches over our own end while it lives
};

/// Runs `command` (looked up on PATH) until it ends. Processes that it left behind get a moment to end, then they are
/// killed; all of them die when this process is killed. Interrupts and requests to terminate that reach us go on to
/// it. Errors (kWorld): it can't be started; those of `prepare`.
Result<ProgramEnd> run_program(const std::vector<std::string>& command, const ProgramOptions& options);

}  // namespace vramwise
