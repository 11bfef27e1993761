// See checkpointing_flag.h.
#include "cli/checkpointing_flag.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/units.h"

namespace vramwise::cli {

Result<Checkpointing> parse_checkpointing(const std::string& text, int layers) {
  if (text == "none") return Checkpointing{};
  if (text == "all") return Checkpointing{.layers = kAllLayers};
  if (text == "selective") return Checkpointing{.layers = kAllLayers, .is_selective = true};
  constexpr std::string_view kEvery = "every-";
  const bool is_every = text.starts_with(kEvery);
  const std::optional<std::int64_t> count = parse_integer(is_every ? text.substr(kEvery.size()) : text);
  if (!count || *count < (is_every ? 1 : 0) || *count > layers)
    return usage_error(fmt::format("--gradient_checkpointing \"{}\" is not possible", text),
                       fmt::format("give none, all, selective, how many layers from the first on (0 to {}), or every-N "
                                   "for each N-th",
                                   layers));
  const int number = static_cast<int>(*count);
  return is_every ? Checkpointing{.layers = kAllLayers, .every = number} : Checkpointing{.layers = number};
}

std::string checkpointing_text(const Checkpointing& checkpointing) {
  if (!checkpointing.is_on()) return "off";
  if (checkpointing.is_selective) return "every layer, but for products and attention";
  if (checkpointing.every > 1) return fmt::format("one of {} layers", checkpointing.every);
  return checkpointing.layers == kAllLayers ? "every layer" : fmt::format("the first {}", checkpointing.layers);
}

}  // namespace vramwise::cli
