// What optimizers have in common (torch/optim/optimizer.py).

#include "tape/optim/optimizer.h"

#include <algorithm>

namespace vramwise::tape {

namespace {

class OneAfterAnother final : public Optimizer {
 public:
  OneAfterAnother(std::vector<std::unique_ptr<Optimizer>> optimizers, std::vector<Tensor> parameters)
      : Optimizer(std::move(parameters)), optimizers_(std::move(optimizers)) {}

  void step() override {
    for (const auto& optimizer : optimizers_) optimizer->step();
  }

 private:
  std::vector<std::unique_ptr<Optimizer>> optimizers_;
};

}  // namespace

std::unique_ptr<Optimizer> one_after_another(std::vector<std::unique_ptr<Optimizer>> optimizers) {
  std::vector<Tensor> all;
  for (const auto& optimizer : optimizers)
    all.insert(all.end(), optimizer->parameters().begin(), optimizer->parameters().end());
  return std::make_unique<OneAfterAnother>(std::move(optimizers), std::move(all));
}

std::unique_ptr<Optimizer> zero_redundancy(std::unique_ptr<Optimizer> optimizer) {
  std::vector<std::unique_ptr<Optimizer>> one;
  one.push_back(std::move(optimizer));
  return one_after_another(std::move(one));
}

void Optimizer::zero_grad(bool set_to_none) {
  if (!set_to_none) return;  // filled with zeros in place
  for (const Tensor& parameter : parameters_) parameter.set_grad({});
}

std::vector<std::size_t> Optimizer::with_gradient() const {
  std::vector<std::size_t> indices;
  indices.reserve(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i]->grad != nullptr) indices.push_back(i);
  }
  return indices;
}

std::vector<Tensor> Optimizer::copied_parts(const std::vector<std::size_t>& indices,
                                            const std::vector<Tensor>& gradients) const {
  std::vector<Tensor> copies;
  for (std::size_t k = 0; k < indices.size(); ++k) {
    const Tensor& parameter = parameters_[indices[k]];
    if (gradients[k].sizes() == parameter.sizes()) continue;
    copies.push_back(parameter.tape().empty(parameter.sizes(), gradients[k].type()));
  }
  return copies;
}

std::vector<Tensor> Optimizer::copied_parts(const std::vector<std::size_t>& indices) const {
  std::vector<Tensor> gradients;
  gradients.reserve(indices.size());
  for (const std::size_t i : indices) gradients.push_back(parameters_[i].grad());
  return copied_parts(indices, gradients);
}

std::vector<std::vector<std::size_t>> Optimizer::by_type() const {
  std::vector<std::vector<std::size_t>> groups;
  std::vector<DType> types;
  for (const std::size_t i : with_gradient()) {
    const DType type = parameters_[i].type();
    const auto found = std::find(types.begin(), types.end(), type);
    const auto group = static_cast<std::size_t>(found - types.begin());
    if (found == types.end()) {
      types.push_back(type);
      groups.emplace_back();
    }
    groups[group].push_back(i);
  }
  // The groups come out of a hash table that hands out the newest first.
  std::reverse(groups.begin(), groups.end());
  return groups;
}

}  // namespace vramwise::tape
