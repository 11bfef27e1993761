// Tensor parallelism with DTensors: a rank has a part of each weight, and computes with it a part of the result. What
// the layers' inputs and results go through on their way in and out is here; in between they are ordinary operators.
#pragma once

#include <cstdint>

#include "tape/tensor.h"

namespace vramwise::tape {

/// DTensor.from_local of what every rank has: the ranks' shares of the gradient are summed.
Tensor replicated(const Tensor& x);
/// From shares of a sum to the sum (Partial to Replicate), on every rank.
Tensor summed_over_ranks(const Tensor& share);
/// From equal parts of the last dimension to the whole of `size` (Shard to Replicate). The gradient's part is copied.
Tensor gathered_over_ranks(const Tensor& part, int ranks, std::int64_t size);
/// An embedding of `entries` rows of which `weight` holds this rank's; the others' come from them. The gradient is that
/// of all entries.
Tensor embedding_of_part(const Tensor& weight, const Tensor& indices, std::int64_t entries);

}  // namespace vramwise::tape
