// Clipping by the norm of all gradients (torch/nn/utils/clip_grad.py): partial sums for every chunk of every gradient,
// a norm each, their norm, the factor.

#include <algorithm>

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {

void clip_grad_norm(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : parameters) {
    if (parameter->grad != nullptr) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return;
  Tape& tape = gradients.front().tape();
  const GradMode no_grad(tape, false);
  constexpr std::int64_t kChunk = 65536;
  std::int64_t most_chunks = 1;
  for (const Tensor& gradient : gradients) {
    most_chunks = std::max(most_chunks, (gradient.numel() + kChunk - 1) / kChunk);
  }
  const DType type = gradients.front().type();
  std::vector<Tensor> norms;
  {
    const auto count = static_cast<std::int64_t>(gradients.size());
    const Tensor sums = tape.empty({count * most_chunks}, accumulate_type(type));
    for (std::int64_t i = 0; i < count; ++i) norms.push_back(tape.empty({}, type));
  }
  const Tensor stacked = stack(norms, 0);
  const Tensor total = tape.empty({}, type);
  const Tensor sum = add(total, 1e-6);
  const Tensor factor = empty_like(sum);
  const Tensor clamped = empty_like(factor);
  for (const Tensor& gradient : gradients) tape.count_kernel(3 * gradient.bytes());
}

}  // namespace vramwise::tape
