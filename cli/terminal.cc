// See terminal.h.
#include "cli/terminal.h"

#include <unistd.h>

#include <cstdlib>

namespace vramwise::cli {

TextStyle terminal_style() {
  const char* no = std::getenv("NO_COLOR");
  return {.colour = isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0')};
}

}  // namespace vramwise::cli
