// What DeepSpeed's step does with gradients before the optimizer sees them: small tensors in an order of its own, and a
// float64 copy of one gradient after the other.
#pragma once

#include <span>
#include <vector>

#include "tape/tape.h"

namespace vramwise::tape {

/// has_overflow_partitioned_grads_serial of at least one gradient. None overflows here.
void check_overflow(const std::vector<Tensor>& gradients);
/// scaled_global_norm
Tensor global_norm(Tape& tape, std::span<const Tensor> gradients);
/// is_invalid_grad_norm
Tensor is_invalid(const Tensor& norm);
/// unscale_and_clip_grads of a gradient by `norm`
void scale_by(const Tensor& norm);

// The same of stage 3.
/// has_overflow of all gradients in one piece
void check_overflow_at_once(const Tensor& gradients);
/// get_grad_norm_direct of a group of at least one gradient
Tensor norm_in_float64(const std::vector<Tensor>& gradients);
/// combine_grad_norm_groups
Tensor combined_norm(const std::vector<Tensor>& norms);
/// unscale_and_clip_grads, which does not look at the norm again
void clip_by(const Tensor& norm);

}  // namespace vramwise::tape
