// Ops that order and count integers, as the routing to experts needs them.
#pragma once

#include <utility>

#include "tape/tensor.h"

namespace vramwise::tape {

/// torch.sort of a row of int64: values and indices.
std::pair<Tensor, Tensor> sort(Tensor x);

/// torch.histc of int32 elements, into int32 counts.
Tensor histc(Tensor x, std::int64_t bins);

/// x[index] = values in the first dimension, without gradient; what the kernel reads stays as it is.
void put_first_(const Tensor& x, const Tensor& index, const Tensor& values);

}  // namespace vramwise::tape
