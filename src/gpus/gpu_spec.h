// What --gpu takes: a list of cards as people write it, resolved through the catalogue.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "gpus/catalogue.h"

namespace vramwise {

/// "rtx-4090", "rtx-3090,rtx-3080", "2xa100-80gb", "24gb" (a card of unknown type with that much CUDA memory),
/// "rtx-2060:8gb" (that card with another memory), and combinations, such as "2x24gb,8 x h100". One entry a card.
/// A variant that exists with the memory asked for is taken as it is ("rtx-3080:12gb"). Errors (all kUsage) name the
/// item and what would do instead: the variants of an ambiguous name, the card of the nearest spelling.
Result<std::vector<GpuModel>> parse_gpu_spec(std::string_view text);

}  // namespace vramwise
