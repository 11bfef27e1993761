// The memory of one training step of our decoder, walked through operator by operator.
//
// This is the decoder of src/nn (and the optimizer step of src/train) with blocks of memory in place of tensors: same
// operators, same order, same lifetimes. Whoever changes one changes the other; tests/memory compares them byte by
// byte.
#pragma once

#include "estimate/ledger.h"
#include "estimate/timeline.h"

namespace vramwise {

/// The workspaces of cuBLAS: each of the two threads that compute takes one with its first matrix product, and keeps
/// it. Where it then lies decides what else fits beside it.
struct Workspaces {
  Timeline::Block forward;
  Timeline::Block backward;
};

/// Runs the forward and the backward pass of one micro-batch on `timeline`, whose live blocks are what lasts (weights,
/// gradients, optimizer states). What is not yet in `workspaces` is taken.
void walk_step(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target,
               Workspaces& workspaces);

}  // namespace vramwise
