// The memory of one training step of our decoder on the CPU, walked through operator by operator; on CUDA it is
// cuda_step.h.
//
// This is the decoder of src/nn (and the optimizer step of src/train) with blocks of memory in place of tensors: same
// operators, same order, same lifetimes. Whoever changes one changes the other; tests/memory compares them byte by
// byte.
#pragma once

#include "estimate/ledger.h"
#include "estimate/timeline.h"

namespace vramwise {

/// Runs the forward and the backward pass of one micro-batch on `timeline`, whose live blocks are what lasts (weights,
/// gradients, optimizer states).
void walk_step(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target);

}  // namespace vramwise
