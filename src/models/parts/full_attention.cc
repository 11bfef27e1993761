// integrations/sdpa_attention.py and the eager functions of models/bert, vit and clip.

#include "models/parts/full_attention.h"

#include <utility>

#include "tape/ops/attention.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

namespace {

Attended attend_sdpa(const Tensor& query, const Tensor& key, const Tensor& value, double dropout) {
  Tensor out = scaled_dot_product_attention(query, key, value, {}, {.dropout = dropout});
  out = reshape(out, {out.size(0), -1, query.size(2), value.size(3)});
  out = contiguous(transpose(out, 1, 2));
  return {std::move(out), {}};
}

Attended attend_eager(const Tensor& query, const Tensor& key, const Tensor& value, const FullAttention& attention) {
  Tensor weights = matmul(query, transpose(key, 2, 3)) * 0.5;
  weights = attention.widens_scores ? to(softmax(weights, -1, DType::kFloat32), query.type()) : softmax(weights, -1);
  weights = dropout(weights, attention.dropout);
  Tensor out = matmul(weights, value);
  out = contiguous(transpose(out, 1, 2));
  return {std::move(out), std::move(weights)};
}

}  // namespace

Attended attend_to_all(const Tensor& query, const Tensor& key, const Tensor& value, const FullAttention& attention) {
  return attention.kind == Attention::kSdpa ? attend_sdpa(query, key, value, attention.dropout)
                                            : attend_eager(query, key, value, attention);
}

Tensor as_heads(const Tensor& x, std::int64_t head_dim) {
  return transpose(view(x, {x.size(0), x.size(1), -1, head_dim}), 1, 2);
}

}  // namespace vramwise
