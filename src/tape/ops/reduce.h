// Reductions: sum, mean, and what kernels of that kind need for themselves.
#pragma once

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// Which dimensions; negative ones count from the end. An empty list means all.
using DimList = std::initializer_list<int>;

Tensor sum(Tensor x, DimList dims = {}, bool keep_dim = false);
Tensor mean(Tensor x, DimList dims = {}, bool keep_dim = false);
/// mask.sum() of truth values, which counts in int64. No autograd.
Tensor count_true(const Tensor& mask);
/// torch.linalg.vector_norm over all dimensions, and x.amax() or x.amin(). No autograd.
Tensor norm_of_all(const Tensor& x);
Tensor amax(const Tensor& x);
/// Sums a gradient down to the shape that was broadcast (at::sum_to). The result may be `x` itself or a view.
Tensor sum_to(const Tensor& x, const Dims& sizes);

namespace internal {
/// The result of reducing the dimensions whose bits are set, with its kernel's scratch; no autograd.
Tensor reduce(const Tensor& x, unsigned dims, bool keep_dim, DType type);
/// The same into memory that is there already.
void reduce_into(const Tensor& x, unsigned dims, DType type);
unsigned dim_bits(DimList dims, int rank);
/// A gradient of reduced shape, seen as one of the shape before (sum_backward).
Tensor expand_reduced(const Tensor& gradient, const Dims& sizes, unsigned dims, bool keep_dim);
}  // namespace internal

}  // namespace vramwise::tape
