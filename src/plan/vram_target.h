// What the user asked for with --vram and --vram_auto: a number of GB, a named preset, or whatever is there.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise {

struct VramTarget {
  enum class Kind {
    kAuto,    ///< the memory that the cards (or the host) have free
    kCustom,  ///< so much, whatever the machine has; the configuration is optimized for it
    kPreset,  ///< a row of the table, as it stands
  };
  Kind kind = Kind::kAuto;
  Bytes total;       ///< for kCustom and kPreset; over all cards
  std::string note;  ///< something that the user should be told about how the value was read; may be empty

  bool operator==(const VramTarget&) const = default;
};

/// The value of --vram. A number is GiB ("24", "20.5"). "8gb", "12gb", "16gb", "24gb", "32gb", "48gb" are presets;
/// another "NNgb" is read as the number, with a note. Errors (usage): not a number, not above 0, more than 1,048,576
/// GB.
Result<VramTarget> parse_vram(const std::string& text);

/// The value of --vram_safety_margin in MiB. Errors (usage): not a number, below 0.
Result<Bytes> parse_safety_margin(const std::string& text);

inline constexpr Bytes kDefaultSafetyMargin = Bytes::mib(1024);

}  // namespace vramwise
