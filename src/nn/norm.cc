// The norm's output is never kept for the backward pass: from x and rstd it costs one pass over memory to have it
// again.
#include "nn/norm.h"

#include <ATen/ops/_fused_rms_norm.h>
#include <ATen/ops/_fused_rms_norm_backward.h>

#include "nn/dispatch.h"
#include "nn/ops.h"

namespace vramwise {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace internal {

Normed norm_forward(const Tensor& x, const Tensor& weight, double eps) {
  const std::int64_t width = x.size(1);
  if (x.is_cuda()) {
    auto [y, rstd] = at::_fused_rms_norm(x, {width}, weight, eps);
    return {y, rstd};
  }
  if (!cpu_kernels_apply(x)) {
    const Tensor wide = x.to(torch::kFloat);
    const Tensor rstd = wide.square().mean(1, true).add_(eps).rsqrt_();
    return {(wide * rstd).mul_(weight).to(x.scalar_type()), rstd};
  }
  const Tensor in = x.contiguous();
  Normed out{at::empty_like(in), at::empty({x.size(0)}, x.options().dtype(torch::kFloat))};
  with_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel_rows(x.size(0), width, [&](cpu::Rows rows) {
      cpu::rms_norm(in.const_data_ptr<T>(), weight.const_data_ptr<T>(), out.y.mutable_data_ptr<T>(),
                    out.rstd.mutable_data_ptr<float>(), rows, width, static_cast<float>(eps));
    });
  });
  return out;
}

Tensor norm_again(const Tensor& x, const Tensor& weight, const Tensor& rstd, double eps) {
  if (!cpu_kernels_apply(x)) return norm_forward(x, weight, eps).y;
  Tensor y = at::empty_like(x);
  with_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel_rows(x.size(0), x.size(1), [&](cpu::Rows rows) {
      cpu::rms_norm_again(x.const_data_ptr<T>(), weight.const_data_ptr<T>(), rstd.const_data_ptr<float>(),
                          y.mutable_data_ptr<T>(), rows, x.size(1));
    });
  });
  return y;
}

NormGradients norm_backward(Tensor dy, const Tensor& x, const Tensor& weight, const Tensor& rstd) {
  const std::int64_t width = x.size(1);
  if (x.is_cuda()) {
    auto [dx, dweight] = at::_fused_rms_norm_backward(dy, x, {width}, rstd, weight, {true, true});
    return {dx, dweight};
  }
  if (!cpu_kernels_apply(x)) {
    const Tensor unit = x.to(torch::kFloat) * rstd;
    const Tensor wide = dy.to(torch::kFloat);
    const Tensor dunit = wide * weight;
    const Tensor pull = (dunit * unit).mean(1, true);
    return {((dunit - unit * pull) * rstd).to(x.scalar_type()), (wide * unit).sum(0)};
  }
  const Tensor partial = at::zeros({at::get_num_threads(), width}, x.options().dtype(torch::kFloat));
  with_type(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel_rows(x.size(0), width, [&](cpu::Rows rows) {
      cpu::rms_norm_backward(dy.const_data_ptr<T>(), x.const_data_ptr<T>(), weight.const_data_ptr<T>(),
                             rstd.const_data_ptr<float>(), dy.mutable_data_ptr<T>(),
                             partial.mutable_data_ptr<float>() + at::get_thread_num() * width, rows, width);
    });
  });
  return {dy, partial.sum(0)};
}

Tensor weight_gradient(const Tensor& dy, const Tensor& x) { return at::mm(dy.t(), x); }

// norm(x) times several weights. Backward: the norm again, each weight's gradient, their common gradient back through
// the norm.
variable_list normed_projection_backward(const variable_list& saved, double eps, const variable_list& gradients) {
  const Tensor& x = saved[0];
  const Tensor& norm_weight = saved[1];
  const Tensor& rstd = saved[2];
  variable_list out(2 + gradients.size());
  Tensor dnormed;
  {
    const Tensor normed = norm_again(x, norm_weight, rstd, eps);
    for (std::size_t i = 0; i < gradients.size(); ++i) out[2 + i] = weight_gradient(gradients[i], normed);
    dnormed = at::mm(gradients[0], saved[3]);
    for (std::size_t i = 1; i < gradients.size(); ++i) dnormed.addmm_(gradients[i], saved[3 + i]);
  }
  NormGradients norm = norm_backward(std::move(dnormed), x, norm_weight, rstd);
  out[0] = std::move(norm.x);
  out[1] = std::move(norm.weight);
  return out;
}

}  // namespace internal

namespace {

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, double eps) {
    internal::Normed out = internal::norm_forward(x, weight, eps);
    ctx->save_for_backward({x, weight, out.rstd});
    return out.y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    internal::NormGradients out =
        internal::norm_backward(gradients[0].clone(at::MemoryFormat::Contiguous), saved[0], saved[1], saved[2]);
    return {out.x, out.weight, {}};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) { return RmsNorm::apply(x, weight, eps); }

}  // namespace vramwise
