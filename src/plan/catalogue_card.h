// A card of the catalogue as one that can be planned for.
#pragma once

#include <cstdint>
#include <optional>

#include "gpus/catalogue.h"
#include "plan/plan.h"

namespace vramwise {

/// What a card that nobody named is taken for: Ampere's consumer cards have the largest share of those that people
/// train on.
inline constexpr ComputeCapability kAssumedCapability{8, 6};
inline constexpr ComputeCapability kFirstWithBf16{8, 0};

/// Context and workspaces. `units`: multiprocessors, where the catalogue knows them.
Target cuda_target(std::optional<ComputeCapability> capability, std::optional<int> units = std::nullopt);

/// Cards are compared by 16-bit matrix rate, else fp32 rate, else bandwidth; unknown cards count as equal.
double speed_of(const GpuModel* model);

/// `model.cuda_total` must be there. `index`: its place among the cards of a plan.
Card catalogue_card(const GpuModel& model, std::size_t index);

/// NVIDIA cards with memory of their own that the default torch build runs on, the smallest memory first; of one size
/// those of the lowest speed first.
std::vector<const GpuModel*> trainable_models();

}  // namespace vramwise
