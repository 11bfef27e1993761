// Embedding, gathering, masks: ops that look things up.
#pragma once

#include <optional>
#include <utility>

#include "tape/ops/pointwise.h"
#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// torch.nn.functional.embedding without sparse gradients.
Tensor embedding(Tensor weight, Tensor indices);
/// embedding_dense_backward: the gradient of a weight with so many entries.
Tensor embedding_gradient(const Tensor& grad, const Tensor& indices, std::int64_t entries);
/// dropout with 0 < p < 1 in training; p = 0 returns x.
Tensor dropout(Tensor x, double p, bool training = true);
Tensor where(Tensor condition, Tensor a, Tensor b);
Tensor where(Tensor condition, Tensor a, Scalar b);
Tensor masked_fill(Tensor x, Tensor mask, Scalar value);
/// Comparisons and logic: elementwise, a bool tensor, no gradient.
Tensor compare(Tensor a, Tensor b);
Tensor compare(Tensor a, Scalar b);
Tensor logical_and(Tensor a, Tensor b);
/// x.all(), read by the host at once.
void all(Tensor x);
/// `type`: of the sums; absent: x's own, int64 of integers.
Tensor cumsum(Tensor x, int dim, std::optional<DType> wanted = std::nullopt);
Tensor gather(Tensor x, int dim, Tensor index);
Tensor index_select(Tensor x, int dim, Tensor index);
/// x[index] in the first dimension, where `index` is a tensor of integers.
Tensor index_first(Tensor x, Tensor index);
/// x[rows, columns] in the first two dimensions, by two tensors of integers of one length.
Tensor index_pairs(Tensor x, Tensor rows, Tensor columns);
/// The place of the largest element in a dimension; no gradient.
Tensor argmax(Tensor x, int dim);
std::pair<Tensor, Tensor> topk(Tensor x, std::int64_t k, int dim = -1);
namespace internal {
/// What index_put_ with accumulation takes at positions that nonzero() listed, which go before it sorts.
void add_at_listed(Tensor& positions, std::int64_t entries);
}  // namespace internal

Tensor arange(Tape& tape, std::int64_t count, DType type = DType::kInt64);
Tensor full(Tape& tape, const Dims& sizes, DType type);

}  // namespace vramwise::tape
