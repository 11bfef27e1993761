// A card of the catalogue as one that a training run is planned for.
#pragma once

#include "gpus/catalogue.h"
#include "plan/training/request.h"

namespace vramwise {

/// Fills in card, usable memory and rates for `request.cards` of that model. `target`: memory to plan for on each;
/// absent: all of it. Errors (usage): the memory of the card is not known, or the margin leaves nothing.
Status put_on(TrainingRequest& request, const GpuModel& model, std::optional<Bytes> target, Bytes margin);

}  // namespace vramwise
