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

std::vector<Tensor> norms_of(const std::vector<Tensor>& gradients) {
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
  return norms;
}

Tensor total_norm(const std::vector<Tensor>& gradients, bool are_shards) {
  const std::vector<Tensor> norms = norms_of(gradients);
  const Tensor stacked = stack(norms, 0);
  if (are_shards) return norm_over_ranks(stacked);
  return stacked.tape().empty({}, stacked.type());
}

// A norm that every rank has becomes this rank's share of a sum (Replicate to Partial).
Tensor total_norm_over_ranks(const std::vector<Tensor>& gradients, std::size_t replicated) {
  const std::vector<Tensor> norms = norms_of(gradients);
  Tensor stacked;
  {
    std::vector<Tensor> shares;
    shares.reserve(replicated);
    for (std::size_t i = 0; i < replicated; ++i) shares.push_back(empty_like(norms.front()));
    stacked = stack(norms, 0);
  }
  return norm_over_ranks(stacked);
}

// max_norm / (total + 1e-6)
Tensor ratio(const Tensor& total) {
  const Tensor sum = add(total, 1e-6);
  const Tensor reciprocal = empty_like(sum);
  return mul(reciprocal, 1.0);
}

void scale(const std::vector<Tensor>& gradients, const Tensor& total) {
  const Tensor factor = ratio(total);
  const Tensor clamped = empty_like(factor);
  for (const Tensor& gradient : gradients) gradient.tape().count_kernel(3 * gradient.bytes());
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
  scale(gradients, total);
}

void clip_mixed_grad_norm(const std::vector<ClippedParameter>& parameters) {
  std::vector<Tensor> distributed;
  std::vector<Tensor> others;
  std::size_t replicated = 0;
  for (const ClippedParameter& parameter : parameters) {
    if (parameter.tensor->grad == nullptr) continue;
    (parameter.is_distributed ? distributed : others).push_back(parameter.tensor.grad());
    if (parameter.is_replicated || parameter.tensor->grad->sizes != parameter.tensor.sizes()) ++replicated;
  }
  VRAMWISE_CHECK(!distributed.empty() && !others.empty());
  const GradMode no_grad(others.front().tape(), false);
  std::vector<Tensor> norms = {total_norm_over_ranks(distributed, replicated)};
  norms.push_back(total_norm(others, false));
  Tensor total;
  {
    const Tensor stacked = stack(norms, 0);
    total = empty_like(norms.front());
  }
  scale(distributed, total);
  scale(others, total);
}

}  // namespace vramwise::tape
