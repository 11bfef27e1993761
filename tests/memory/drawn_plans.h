// Drawn requests for plans: small decoders, cards of any size, margins of at least 1 % and 64 MiB.
#pragma once

#include <cstdint>

#include "plan/plan.h"

namespace vramwise::testing {

struct DrawnCase {
  PlanRequest request;
  Bytes largest_card;  ///< among its cards
};

/// The same for the same numbers. `cards`: 1 or 2. Their context and workspaces are those of `card`; their sizes end at
/// `most`.
DrawnCase draw_case(std::uint64_t seed, std::uint64_t index, std::size_t cards, const Card& card, Bytes most);

/// Whether one pass less, with micro-batches that much larger and all else the same, would break a card's budget or be
/// no faster by the model. For plans of a search.
bool next_larger_is_worse(const Plan& plan);

}  // namespace vramwise::testing
