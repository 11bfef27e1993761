// PreNormLayer: the commonest layer of a decoder: residual + attention(norm(x)), then residual + mlp(norm(x)).
#pragma once

#include <utility>

#include "models/module.h"
#include "models/parts/attention.h"
#include "tape/ops/pointwise.h"

namespace vramwise {

template <typename Attention, typename Mlp, typename Norm>
struct PreNormLayer {
  Attention self_attn;
  Mlp mlp;
  Norm input_norm, post_attention_norm;

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = residual + hidden;
    residual = hidden;
    hidden = post_attention_norm(hidden);
    hidden = mlp(hidden);
    hidden = residual + hidden;
    return hidden;
  }
};

}  // namespace vramwise
