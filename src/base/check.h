// VRAMWISE_CHECK: an assumption of ours that does not hold is our bug; the process ends, naming file and line.
#pragma once

#include <string>

namespace vramwise {

/// Receives the text of a failed VRAMWISE_CHECK. It must not return; if it does, the process aborts.
using CheckHandler = void (*)(const std::string& message);

/// Replaces the handler (default: print to stderr and abort) and returns the old one. Set once, at the start of main.
CheckHandler set_check_handler(CheckHandler handler);

namespace internal {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);
}  // namespace internal
}  // namespace vramwise

#define VRAMWISE_CHECK_THAT(condition, detail)                                                    \
  do {                                                                                            \
    if (!(condition)) ::vramwise::internal::check_failed(__FILE__, __LINE__, #condition, detail); \
  } while (false)

/// Ends the process when `condition` is false. For our own mistakes only, never for bad input (that is a Result).
/// c10 has a macro CHECK of its own, hence the long name.
#define VRAMWISE_CHECK(condition) VRAMWISE_CHECK_THAT(condition, std::string())
