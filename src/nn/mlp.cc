// The feed-forward part: silu(gate) * up is computed again in the backward pass, and the gradients of gate and up take
// their place.
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

Tensor swiglu_forward(const Tensor& gate, const Tensor& up) {
  if (!internal::cpu_kernels_apply(gate)) return at::silu(gate).mul_(up);
  Tensor out = at::empty_like(gate);
  with_type(gate.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel_rows(gate.size(0), gate.size(1), [&](cpu::Rows rows) {
      cpu::swiglu(gate.const_data_ptr<T>(), up.const_data_ptr<T>(), out.mutable_data_ptr<T>(), rows, gate.size(1));
    });
  });
  return out;
}

// gate and up become their gradients; dout may be overwritten.
void swiglu_backward_in_place(Tensor dout, Tensor gate, Tensor up) {
  if (!internal::cpu_kernels_apply(gate)) {
    const Tensor through_gate = dout * up;
    at::silu_out(up, gate);
    up.mul_(dout);
    at::silu_backward_out(gate, through_gate, gate);
    return;
  }
  with_type(gate.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel_rows(gate.size(0), gate.size(1), [&](cpu::Rows rows) {
      cpu::swiglu_backward(dout.const_data_ptr<T>(), gate.mutable_data_ptr<T>(), up.mutable_data_ptr<T>(), rows,
                           gate.size(1));
    });
  });
}

struct ProjectGateUp : torch::autograd::Function<ProjectGateUp> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& norm_weight,
                               const Tensor& gate_weight, const Tensor& up_weight, double eps) {
    const internal::Normed normed = internal::norm_forward(x, norm_weight, eps);
    ctx->save_for_backward({x, norm_weight, normed.rstd, gate_weight, up_weight});
    ctx->saved_data["eps"] = eps;
    return {at::mm(normed.y, gate_weight.t()), at::mm(normed.y, up_weight.t())};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    variable_list out =
        internal::normed_projection_backward(ctx->get_saved_variables(), ctx->saved_data["eps"].toDouble(), gradients);
    out.resize(5);
    return out;
  }
};

struct SwigluDown : torch::autograd::Function<SwigluDown> {
  static Tensor forward(AutogradContext* ctx, const Tensor& residual, const Tensor& gate, const Tensor& up,
                        const Tensor& down_weight) {
    ctx->save_for_backward({gate, up, down_weight});
    return at::addmm(residual, swiglu_forward(gate, up), down_weight.t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    TORCH_CHECK(ctx->saved_data.emplace("spent", true).second, "the decoder's loss can be differentiated only once");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor gate = saved[0].detach();
    const Tensor up = saved[1].detach();
    const Tensor& dy = gradients[0];
    Tensor product = swiglu_forward(gate, up);
    Tensor dweight = internal::weight_gradient(dy, product);
    at::mm_out(product, dy, saved[2]);  // from here on its gradient
    swiglu_backward_in_place(product, gate, up);
    return {dy, gate, up, std::move(dweight)};
  }
};

}  // namespace

std::array<Tensor, 2> project_gate_up(const Tensor& x, const Tensor& norm_weight, const Tensor& gate_weight,
                                      const Tensor& up_weight, double eps) {
  variable_list out = ProjectGateUp::apply(x, norm_weight, gate_weight, up_weight, eps);
  return {out[0], out[1]};
}

Tensor swiglu_down(const Tensor& residual, const Tensor& gate, const Tensor& up, const Tensor& down_weight) {
  return SwigluDown::apply(residual, gate, up, down_weight);
}

}  // namespace vramwise
