// Modules of modeling_llama.py (transformers 5), op by op.

#include "models/parts/rms_norm.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

namespace {

Tensor normalized(const Tensor& x) { return x * rsqrt(mean(pow(x, 2), {-1}, true) + 1e-6); }

}  // namespace

Tensor RmsNorm::operator()(const Tensor& in) const {
  return call_module(this, {&weight}, in, [this](const Tensor& x) {
    Tensor hidden = to(x, DType::kFloat32);
    const Tensor variance = mean(pow(hidden, 2), {-1}, true);
    hidden = hidden * rsqrt(variance + 1e-6);
    return weight * to(hidden, x.type());
  });
}

Tensor GemmaRmsNorm::operator()(const Tensor& x) const {
  Tensor output = normalized(to(x, DType::kFloat32));
  output = output * (to(weight, DType::kFloat32) + 1.0);
  return to(output, x.type());
}

Tensor Olmo2RmsNorm::operator()(const Tensor& x) const {
  Tensor hidden = to(x, DType::kFloat32);
  const Tensor variance = mean(pow(hidden, 2), {-1}, true);
  hidden = hidden * rsqrt(variance + 1e-6);
  return to(weight * hidden, x.type());
}

}  // namespace vramwise
