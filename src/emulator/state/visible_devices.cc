// The driver reads the list from left to right and stops, without an error, at the first entry that it can't follow.
#include "emulator/state/visible_devices.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>

#include "base/text.h"

namespace vramwise::emulator {
namespace {

/// atoi's reading, as the driver's: leading blanks, then digits, then whatever.
std::optional<int> leading_integer(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const long value = std::strtol(copy.c_str(), &end, 10);
  if (end == copy.c_str() || value < 0 || value > 1'000'000) return std::nullopt;
  return static_cast<int>(value);
}

std::optional<int> card_of(std::string_view entry, const std::vector<Uuid>& uuids) {
  if (!entry.starts_with("GPU-")) {
    const auto index = leading_integer(entry);
    if (!index || *index >= static_cast<int>(uuids.size())) return std::nullopt;
    return index;
  }
  std::optional<int> found;
  for (std::size_t i = 0; i < uuids.size(); ++i) {
    if (!uuid_text(uuids[i]).starts_with("GPU-" + to_lower(entry.substr(4)))) continue;
    if (found) return std::nullopt;  // ambiguous
    found = static_cast<int>(i);
  }
  return found;
}

}  // namespace

std::string uuid_text(const Uuid& uuid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU-";
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[uuid[i] >> 4];
    text += kDigits[uuid[i] & 15];
  }
  return text;
}

std::vector<int> visible_devices(const char* value, const std::vector<Uuid>& uuids) {
  std::vector<int> visible;
  if (value == nullptr) {
    for (std::size_t i = 0; i < uuids.size(); ++i) visible.push_back(static_cast<int>(i));
    return visible;
  }
  for (const auto& entry : split(value, ',')) {
    const auto card = card_of(trim(entry), uuids);
    if (!card) break;
    if (std::find(visible.begin(), visible.end(), *card) != visible.end()) return {};
    visible.push_back(*card);
  }
  return visible;
}

}  // namespace vramwise::emulator
