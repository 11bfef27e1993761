// As torch/amp/grad_scaler.py of PyTorch 2.14: which one-element tensors a step makes, and how long each lives.

#include "tape/optim/grad_scaler.h"

#include "tape/ops/pointwise.h"

namespace vramwise::tape {

Tensor GradScaler::scale(const Tensor& loss) {
  if (!scale_.defined()) {
    scale_ = loss.tape().empty({}, DType::kFloat32);
    growth_tracker_ = loss.tape().empty({}, DType::kInt32);
  }
  return mul(loss, scale_);
}

// _unscale_grads_: the kernel works on copies of both numbers, which each device would get; one of them stays.
Tensor GradScaler::found_inf(const Optimizer& optimizer, const Tensor& inverse_scale) const {
  Tape& tape = scale_.tape();
  const Tensor master = tape.empty({}, DType::kFloat32);
  Tensor copy = tape.empty({}, DType::kFloat32);
  const Tensor inverse_copy = empty_like(inverse_scale);
  for (const Tensor& parameter : optimizer.parameters())
    if (parameter->grad != nullptr) tape.count_kernel(2 * parameter.grad().bytes());
  if (are_shards_) empty_like(copy).reset();  // an all-reduce of its own (found_inf_reduce_handler of DTensor)
  return copy;
}

void GradScaler::unscale(const Optimizer& optimizer) {
  const GradMode no_grad(scale_.tape(), false);
  Tensor inverse = to(scale_, DType::kFloat64);
  inverse = empty_like(inverse);
  inverse = to(inverse, DType::kFloat32);
  found_inf_ = found_inf(optimizer, inverse);
  is_unscaled_ = true;
}

void GradScaler::step(Optimizer& optimizer) {
  const GradMode no_grad(scale_.tape(), false);
  if (!optimizer.handles_grad_scale()) {
    if (!is_unscaled_) unscale(optimizer);
    return optimizer.step();
  }
  Tape& tape = scale_.tape();
  if (!is_unscaled_) {
    const Tensor one = tape.empty({}, DType::kFloat32);
    found_inf_ = found_inf(optimizer, one);
  }
  const Tensor sum = add(found_inf_, 0);
  Tensor factor;
  if (!is_unscaled_) factor = mul(scale_, 1);
  optimizer.step();
  factor.reset();
}

void GradScaler::update() {
  found_inf_.reset();
  is_unscaled_ = false;
}

}  // namespace vramwise::tape
