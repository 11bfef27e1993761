// Muon (torch/optim/_muon.py): momentum in the gradient's type, then five steps of Newton and Schulz in bfloat16.

#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

// The gradient's nearest orthogonal matrix. `gradient` is the caller's as well.
Tensor orthogonalized(const Tensor& gradient) {
  constexpr int kSteps = 5;
  Tape& tape = gradient.tape();
  Tensor result = to(gradient, DType::kBFloat16);
  const bool is_tall = gradient.size(0) > gradient.size(1);
  if (is_tall) result = t(result);
  {
    Tensor norm = internal::reduce(result, 3, false, result.type());
    const Tensor clamped = empty_like(norm);
    norm.reset();
    tape.count_kernel(2 * result.bytes());
  }
  Tensor gram;
  Tensor update;
  for (int i = 0; i < kSteps; ++i) {
    gram = matmul(result, t(result));
    update = addmm(gram, gram, gram);
    result = addmm(result, update, result);
  }
  if (is_tall) result = t(result);
  gram.reset();  // Python drops a function's names in the order in which they came
  update.reset();
  return result;
}

class Muon final : public Optimizer {
 public:
  explicit Muon(std::vector<Tensor> parameters) : Optimizer(std::move(parameters)), momenta_(parameters_.size()) {}

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    const std::vector<std::size_t> indices = with_gradient();
    for (const std::size_t i : indices) {
      if (!momenta_[i].defined()) momenta_[i] = empty_like(parameters_[i].grad());
    }
    Tensor update;
    for (const std::size_t i : indices) {
      update = empty_like(parameters_[i].grad());  // between gradient and momentum (Nesterov)
      update = orthogonalized(update);
      parameters_[i].tape().count_kernel(4 * parameters_[i].bytes());
    }
  }

 private:
  std::vector<Tensor> momenta_;
};

}  // namespace

std::unique_ptr<Optimizer> muon(std::vector<Tensor> parameters) {
  return std::make_unique<Muon>(std::move(parameters));
}

}  // namespace vramwise::tape
