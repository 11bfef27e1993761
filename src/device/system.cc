// Small readings on top of System, as the one-value files of /sys and /proc need them.
#include "device/system.h"

#include <cerrno>
#include <cstdlib>

#include "base/text.h"

namespace vramwise {

std::string path_tail(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::optional<std::string> read_line(System& system, const std::string& path) {
  const auto text = system.read_file(path);
  if (!text) return std::nullopt;
  std::string line(trim(std::string_view(*text).substr(0, text->find('\n'))));
  if (line.empty()) return std::nullopt;
  return line;
}

std::optional<std::int64_t> read_number(System& system, const std::string& path) {
  const auto line = read_line(system, path);
  if (!line) return std::nullopt;
  const bool hexadecimal = line->starts_with("0x");
  char* end = nullptr;
  errno = 0;
  const std::int64_t value = std::strtoll(line->c_str(), &end, hexadecimal ? 16 : 10);
  if (errno != 0 || end == line->c_str() || *end != '\0') return std::nullopt;
  return value;
}

}  // namespace vramwise
