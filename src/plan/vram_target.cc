// --vram means three things: a number of GB, a preset's name, or (left out) what is free.
#include "plan/vram_target.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/units.h"
#include "plan/guide_table.h"

namespace vramwise {
namespace {

// Largest target that makes sense: a petabyte, above the memory of any cluster that one replica could see.
constexpr double kLargestTargetGib = 1024.0 * 1024.0;

constexpr const char* kVramRemedy =
    "Give GB as a number (--vram 24, --vram 20.5) or a preset (8gb, 12gb, 16gb, 24gb, 32gb, 48gb).";

}  // namespace

Result<VramTarget> parse_vram(const std::string& text) {
  std::string digits = to_lower(trim(text));
  bool has_unit = false;
  for (const char* unit : {"gib", "gb", "g"}) {
    if (has_unit || !digits.ends_with(unit)) continue;
    has_unit = true;
    digits = trim(std::string_view(digits).substr(0, digits.size() - std::string_view(unit).size()));
  }
  const std::optional<double> gib = parse_number(digits);
  if (!gib) return usage_error(fmt::format("--vram \"{}\" is not an amount of memory", text), kVramRemedy);
  if (!(*gib > 0))
    return usage_error(fmt::format("--vram {} leaves nothing to plan for; it must be above 0", text), kVramRemedy);
  if (*gib > kLargestTargetGib) {
    return usage_error(fmt::format("--vram {} is more memory than any machine has", text),
                       fmt::format("The number is in GB. {}", kVramRemedy));
  }
  VramTarget target;
  target.kind = VramTarget::Kind::kCustom;
  VRAMWISE_ASSIGN_OR_RETURN(target.total, bytes_from_gib(*gib));
  if (has_unit) {
    if (find_preset(target.total)) {
      target.kind = VramTarget::Kind::kPreset;
    } else {
      target.note = fmt::format(
          "there is no preset \"{}\" (presets: 8gb, 12gb, 16gb, 24gb, 32gb, 48gb); read as --vram {}", text, digits);
    }
  }
  return target;
}

Result<Bytes> parse_safety_margin(const std::string& text) {
  const std::optional<double> mib = parse_number(trim(text));
  if (!mib) {
    return usage_error(fmt::format("--vram_safety_margin \"{}\" is not a number of MB", text),
                       "Give MB as a number: --vram_safety_margin 1024.");
  }
  if (*mib < 0)
    return usage_error(fmt::format("--vram_safety_margin {} is below 0", text),
                       "The smallest margin is 0 (risky); the default is 1024.");
  VRAMWISE_ASSIGN_OR_RETURN(const Bytes margin, bytes_from_gib(*mib / 1024));
  return margin;
}

}  // namespace vramwise
