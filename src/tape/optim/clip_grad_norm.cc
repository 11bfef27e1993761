// Clipping by the norm of all gradients (torch/nn/utils/clip_grad.py): partial sums for every chunk of every gradient,
// a norm each, their norm, the factor.

#include <algorithm>
#include <iterator>

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

// torch._foreach_norm of gradients of one type.
void add_norms(const std::vector<Tensor>& gradients, std::vector<Tensor>& norms) {
  constexpr std::int64_t kChunk = 65536;
  std::int64_t most_chunks = 1;
  for (const Tensor& gradient : gradients) {
    most_chunks = std::max(most_chunks, (gradient.numel() + kChunk - 1) / kChunk);
  }
  Tape& tape = gradients.front().tape();
  const DType type = gradients.front().type();
  const auto count = static_cast<std::int64_t>(gradients.size());
  const Tensor sums = tape.empty({count * most_chunks}, accumulate_type(type));
  for (std::int64_t i = 0; i < count; ++i) norms.push_back(tape.empty({}, type));
}

// The norm of DTensors' norms: powers of this rank's part are summed over the ranks (_NormPartial of
// torch.distributed.tensor).
Tensor norm_over_ranks(const Tensor& stacked) {
  Tensor powers = empty_like(stacked);
  Tensor summed = empty_like(stacked);
  const Tensor norms = empty_like(stacked);
  powers.reset();
  summed.reset();
  return stacked.tape().empty({}, stacked.type());
}

Tensor total_norm(const std::vector<Tensor>& gradients, bool are_shards) {
  std::vector<DType> types;
  for (const Tensor& gradient : gradients) {
    if (std::find(types.begin(), types.end(), gradient.type()) == types.end()) types.push_back(gradient.type());
  }
  std::reverse(types.begin(), types.end());  // as in Optimizer::by_type
  std::vector<Tensor> norms;
  for (const DType type : types) {
    std::vector<Tensor> group;
    std::copy_if(gradients.begin(), gradients.end(), std::back_inserter(group),
                 [type](const Tensor& gradient) { return gradient.type() == type; });
    add_norms(group, norms);
  }
  const Tensor stacked = stack(norms, 0);
  if (are_shards) return norm_over_ranks(stacked);
  return stacked.tape().empty({}, stacked.type());
}

// max_norm / (total + 1e-6)
Tensor ratio(const Tensor& total) {
  const Tensor sum = add(total, 1e-6);
  const Tensor reciprocal = empty_like(sum);
  return mul(reciprocal, 1.0);
}

}  // namespace

void clip_grad_norm(const std::vector<Tensor>& parameters, bool are_shards) {
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : parameters) {
    if (parameter->grad != nullptr) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return;
  const GradMode no_grad(gradients.front().tape(), false);
  const Tensor total = total_norm(gradients, are_shards);
  const Tensor factor = ratio(total);
  const Tensor clamped = empty_like(factor);
  for (const Tensor& gradient : gradients) gradient.tape().count_kernel(3 * gradient.bytes());
}

}  // namespace vramwise::tape
