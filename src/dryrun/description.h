// Cards of the catalogue as the emulator takes them.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/json_fwd.h"
#include "base/result.h"
#include "gpus/catalogue.h"

namespace vramwise {

/// A card that is only a size ("24gb") is taken for Ampere's consumer cards.
inline constexpr ComputeCapability kAssumedCapability{8, 6};

/// The value of VRAMWISE_GPUS for these cards. `context`: of CUDA, instead of its known or derived size. Errors
/// (kUsage): a card that is not NVIDIA's, or whose compute capability or CUDA total the catalogue does not have.
Result<Json> emulated_machine(const std::vector<GpuModel>& cards, std::optional<Bytes> context = {});

}  // namespace vramwise
