// What each allocation of a training run is for, told by its life.
#pragma once

#include <cstddef>
#include <vector>

#include "allocator/options.h"
#include "estimate/ledger.h"
#include "estimate/training.h"

namespace vramwise {

/// By the index of the allocating event; other events have no meaning there. What loading allocates is weights; what
/// the forward pass leaves for the backward pass is activations, or belongs to the loss where it was made there; what
/// the backward pass leaves is gradients, and what the optimizer's step leaves its states. What a phase allocates and
/// releases itself is temporary. Which are the workspaces of cuBLAS the trace tells.
std::vector<Owner> owners_of(const TrainingTrace& trace);

/// What is alive after event `last`, by owner, in the allocator's granules. The same owners, but told for these alone.
PartBytes owned_after(const TrainingTrace& trace, std::size_t last, const AllocatorOptions& options);

}  // namespace vramwise
