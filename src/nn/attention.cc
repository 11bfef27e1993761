// Attention: the projections to query, key and value with rotary positions in one operator, and the attention itself,
// which is ATen's.
#include <ATen/ops/_fused_sdp_choice.h>

#include <optional>

#include "nn/dispatch.h"
#include "nn/norm.h"
#include "nn/ops.h"

namespace vramwise {

using internal::parallel_rows;
using internal::with_type;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

void rotate_into(const Tensor& x, const Tensor& out, const RopeTables& tables, bool back) {
  const std::int64_t seq = tables.cosines.size(0);
  const std::int64_t half = tables.cosines.size(1);
  const std::int64_t heads = x.size(1) / (2 * half);
  if (internal::cpu_kernels_apply(x)) {
    const cpu::Rotation rotation{.cosines = tables.cosines.const_data_ptr<float>(),
                                 .sines = tables.sines.const_data_ptr<float>(),
                                 .seq_len = seq,
                                 .heads = heads,
                                 .half = half,
                                 .direction = back ? -1.0F : 1.0F};
    with_type(x.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel_rows(x.size(0), x.size(1), [&](cpu::Rows rows) {
        cpu::rotate(x.const_data_ptr<T>(), out.mutable_data_ptr<T>(), rows, rotation);
      });
    });
    return;
  }
  // Two temporaries of half the size, in fp32: both halves of x are still needed when the first result is stored.
  const Tensor pairs = x.view({x.size(0) / seq, seq, heads, 2, half});
  const Tensor cosines = tables.cosines.view({seq, 1, half});
  const Tensor sines = tables.sines.view({seq, 1, half});
  const double sign = back ? -1 : 1;
  const Tensor first = at::mul(pairs.select(3, 0), cosines).addcmul_(pairs.select(3, 1), sines, -sign);
  const Tensor second = at::mul(pairs.select(3, 1), cosines).addcmul_(pairs.select(3, 0), sines, sign);
  const Tensor rotated = out.view({x.size(0) / seq, seq, heads, 2, half});
  rotated.select(3, 0).copy_(first);
  rotated.select(3, 1).copy_(second);
}

struct ProjectQkv : torch::autograd::Function<ProjectQkv> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& norm_weight, const Tensor& q_weight,
                               const Tensor& k_weight, const Tensor& v_weight, const Tensor& cosines,
                               const Tensor& sines, double eps) {
    const internal::Normed normed = internal::norm_forward(x, norm_weight, eps);
    ctx->save_for_backward({x, norm_weight, normed.rstd, q_weight, k_weight, v_weight, cosines, sines});
    ctx->saved_data["eps"] = eps;
    Tensor q = at::mm(normed.y, q_weight.t());
    Tensor k = at::mm(normed.y, k_weight.t());
    Tensor v = at::mm(normed.y, v_weight.t());
    rotate_into(q, q, {cosines, sines}, false);
    rotate_into(k, k, {cosines, sines}, false);
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const RopeTables tables{saved[6], saved[7]};
    gradients[0] = vramwise::rotate(gradients[0].contiguous(), tables, true);
    gradients[1] = vramwise::rotate(gradients[1].contiguous(), tables, true);
    variable_list out = internal::normed_projection_backward(saved, ctx->saved_data["eps"].toDouble(), gradients);
    out.resize(8);
    return out;
  }
};

// (tokens, heads * head_dim) → (batch, heads, seq, head_dim), a view.
Tensor split_heads(const Tensor& x, const HeadLayout& layout, std::int64_t heads) {
  return x.view({layout.batch, layout.seq, heads, layout.head_dim}).transpose(1, 2);
}

}  // namespace

RopeTables make_rope_tables(std::int64_t positions, std::int64_t head_dim, double theta, torch::Device device) {
  const auto fp32 = torch::TensorOptions().dtype(torch::kFloat);
  const Tensor frequencies = at::pow(theta, at::arange(0, head_dim, 2, fp32) / head_dim).reciprocal();
  const Tensor angles = at::outer(at::arange(positions, fp32), frequencies);
  return {angles.cos().to(device), angles.sin().to(device)};
}

Tensor rotate(const Tensor& x, const RopeTables& tables, bool back) {
  Tensor out = at::empty_like(x);
  rotate_into(x, out, tables, back);
  return out;
}

std::array<Tensor, 3> project_qkv(const Tensor& x, const Tensor& norm_weight, const std::array<Tensor, 3>& weights,
                                  const RopeTables& tables, double eps) {
  variable_list out =
      ProjectQkv::apply(x, norm_weight, weights[0], weights[1], weights[2], tables.cosines, tables.sines, eps);
  return {out[0], out[1], out[2]};
}

// ATen's fused kernels take fewer key/value heads as they are. Where none of them does (another device, another
// version), it would fall back to building the (seq, seq) matrix; with repeated heads one may apply.
Tensor causal_attention(const Tensor& q, const Tensor& k, const Tensor& v, const HeadLayout& layout) {
  const Tensor queries = split_heads(q, layout, layout.n_heads);
  Tensor keys = split_heads(k, layout, layout.n_kv_heads);
  Tensor values = split_heads(v, layout, layout.n_kv_heads);
  bool grouped = layout.n_heads != layout.n_kv_heads;
  constexpr std::int64_t kMathKernel = 0;  // at::SDPBackend::math
  if (grouped && !q.is_cpu() &&
      at::_fused_sdp_choice(queries, keys, values, {}, 0.0, true, std::nullopt, true) == kMathKernel) {
    keys = keys.repeat_interleave(layout.n_heads / layout.n_kv_heads, 1);
    values = values.repeat_interleave(layout.n_heads / layout.n_kv_heads, 1);
    grouped = false;
  }
  const Tensor out = at::scaled_dot_product_attention(queries, keys, values, {}, 0.0, true, std::nullopt, grouped);
  return out.transpose(1, 2).reshape({layout.batch * layout.seq, layout.n_heads * layout.head_dim});
}

}  // namespace vramwise
