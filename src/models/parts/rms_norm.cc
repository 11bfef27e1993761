// Modules of modeling_llama.py (transformers 5), op by op.

#include "models/parts/rms_norm.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

Tensor RmsNorm::operator()(const Tensor& x) const {
  Tensor hidden = to(x, DType::kFloat32);
  const Tensor variance = mean(pow(hidden, 2), {-1}, true);
  hidden = hidden * rsqrt(variance + 1e-6);
  return weight * to(hidden, x.type());
}

}  // namespace vramwise
