// The handler is the one piece of state of a process: the command line sets it once, to end with the exit code for
// bugs.
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace vramwise {
namespace {

void print_and_abort(const std::string& message) {
  std::fputs(message.c_str(), stderr);
  std::abort();
}

CheckHandler g_handler = print_and_abort;

}  // namespace

CheckHandler set_check_handler(CheckHandler handler) {
  CheckHandler old = g_handler;
  g_handler = handler;
  return old;
}

void internal::check_failed(const char* file, int line, const char* condition, const std::string& detail) {
  std::string message = std::string(file) + ":" + std::to_string(line) + ": check failed: " + condition;
  if (!detail.empty()) message += " (" + detail + ")";
  g_handler(message + "\n");
  std::abort();
}

}  // namespace vramwise
