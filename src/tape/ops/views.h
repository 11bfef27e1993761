// Views: other shapes of the same memory. Only reshape() may copy.
#pragma once

#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// One size may be −1: what remains.
Tensor view(Tensor x, Dims sizes);
/// at::_unsafe_view: of a tensor that nobody else will see; its result counts as no view.
Tensor unsafe_view(Tensor x, Dims sizes);
Tensor reshape(Tensor x, Dims sizes);
Tensor flatten(Tensor x, int first = 0, int last = -1);
Tensor transpose(Tensor x, int a, int b);
/// x.t() of a matrix: a node of its own kind in autograd.
Tensor t(Tensor x);
Tensor permute(Tensor x, Dims order);
Tensor unsqueeze(Tensor x, int dim);
Tensor squeeze(Tensor x, int dim);
/// A size of −1 keeps the size.
Tensor expand(Tensor x, Dims sizes);
/// Python's x[…, begin:end:step, …] in one dimension; the gradient is a zero tensor of x's shape into which it is
/// copied. The whole range is no slice.
Tensor slice(Tensor x, int dim, std::int64_t begin, std::int64_t end, std::int64_t step = 1);
/// x.narrow(): always a slice.
Tensor narrow(Tensor x, int dim, std::int64_t begin, std::int64_t length);
Tensor select(Tensor x, int dim, std::int64_t index);
/// x without its history.
Tensor detach(Tensor x);
std::vector<Tensor> split(Tensor x, std::int64_t size, int dim);
std::vector<Tensor> split(Tensor x, const std::vector<std::int64_t>& parts, int dim);
std::vector<Tensor> chunk(Tensor x, int count, int dim);
Tensor cat(std::initializer_list<Tensor> parts, int dim);
Tensor cat(std::vector<Tensor> parts, int dim);
Tensor stack(std::vector<Tensor> parts, int dim);

/// torch.repeat_interleave with a number.
Tensor repeat_interleave(Tensor x, std::int64_t repeats, int dim);
/// Zeros after the last dimension's elements; fewer elements where `count` is negative.
Tensor pad_last(Tensor x, std::int64_t count);

}  // namespace vramwise::tape
