// torch.nn.functional.grouped_mm: rows in groups, each group times a matrix of its own.
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

/// x: (rows, in), sorted by group; weight: (groups, in, out); ends: where each group ends, int32. → (rows, out).
/// Rows of both must be multiples of 16 bytes.
Tensor grouped_mm(Tensor x, Tensor weight, Tensor ends);

/// What transformers runs in its place below compute capability 8.0 (integrations/moe.py, grouped_mm_fallback).
Tensor grouped_mm_fallback(Tensor x, Tensor weight, Tensor ends);

}  // namespace vramwise::tape
