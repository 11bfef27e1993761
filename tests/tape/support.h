// What tape_ops and tape_models share.
#pragma once

#include <memory>
#include <vector>

#include "allocator/event.h"
#include "base/json.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {

/// {"name": "adamw" | "sgd" | "muon" | "adafactor" | "adafactor-transformers" | "paged-lion-8bit" …, "how": "foreach" |
/// "loop" | "fused", …}
std::unique_ptr<Optimizer> make_optimizer(const Json& described, std::vector<Tensor> parameters);

/// [bytes] for an allocation, [-1, n] for the release of the n-th one (n = -1: made before the list began).
Json numbered(const EventList& events);

/// The numbers of the allocations at these places among all allocations, as numbered() counts them.
Json numbers_of(const EventList& events, const std::vector<std::size_t>& places);

}  // namespace vramwise::tape
