// The names that people call a card by: "rtx-4090", "4090", "NVIDIA GeForce RTX 4090", "a100-sxm".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gpus/catalogue.h"

namespace vramwise {

/// A name reduced to what tells cards apart: lower case, without the makers' words (NVIDIA, GeForce, Tesla, Radeon …),
/// without spaces and signs. "NVIDIA GeForce RTX 4090 Laptop GPU" → "rtx4090laptop".
std::string gpu_name_key(std::string_view name);

/// The cards that `name` can mean. One: it is clear. Several: variants of one card, of which the name chooses none.
/// None: not in the catalogue.
std::vector<const GpuModel*> gpus_called(std::string_view name);

/// The id of the card that is spelt most like `name`, or empty.
std::string closest_gpu_id(std::string_view name);

}  // namespace vramwise
