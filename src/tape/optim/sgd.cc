// SGD (torch/optim/sgd.py): weight decay makes a changed copy of each gradient, and so does Nesterov momentum where
// parameters are updated one by one.

#include "tape/ops/pointwise.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(std::vector<Tensor> parameters, const SgdOptions& options, StepKind kind)
      : Optimizer(std::move(parameters)), options_(options), kind_(kind), momenta_(parameters_.size()) {}

  bool handles_grad_scale() const override { return kind_ == StepKind::kFused; }

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    for (const std::size_t i : with_gradient()) {
      const Tensor& parameter = parameters_[i];
      parameter.tape().count_kernel(3 * parameter.bytes());
    }
    if (kind_ == StepKind::kForeach) step_foreach();
    if (kind_ == StepKind::kLoop) step_loop();
    if (kind_ == StepKind::kFused) make_momenta_for_fused();
  }

 private:
  void step_foreach() {
    std::vector<Tensor> gradients;
    std::vector<Tensor> momenta;
    for (const auto& group : by_type()) {
      std::vector<Tensor> current;
      current.reserve(group.size());
      for (const std::size_t i : group) current.push_back(parameters_[i].grad());
      swap_in(gradients, std::move(current));
      if (options_.weight_decay != 0) swap_in(gradients, copies_of(gradients));
      if (options_.momentum != 0) {
        momenta.clear();
        for (std::size_t k = 0; k < group.size(); ++k) {
          Tensor& momentum = momenta_[group[k]];
          if (!momentum.defined()) momentum = clone(gradients[k]);
          momenta.push_back(momentum);
        }
        if (!options_.nesterov) swap_in(gradients, momenta);
      }
      copied_parts(group, gradients);
    }
    release(momenta);
    release(gradients);
  }

  void step_loop() {
    Tensor gradient;
    for (const std::size_t i : with_gradient()) {
      gradient = parameters_[i].grad();
      if (options_.weight_decay != 0) gradient = add(gradient, parameters_[i]);
      if (options_.momentum != 0) {
        Tensor& momentum = momenta_[i];
        if (!momentum.defined()) momentum = clone(gradient);
        gradient = options_.nesterov ? add(gradient, momentum) : momentum;
      }
      copied_parts({i}, {gradient});
    }
  }

  void make_momenta_for_fused() {
    if (options_.momentum == 0) return;
    for (const std::size_t i : with_gradient()) {
      if (!momenta_[i].defined()) momenta_[i] = empty_like(parameters_[i].grad());
    }
  }

  static std::vector<Tensor> copies_of(const std::vector<Tensor>& list) {
    std::vector<Tensor> copies;
    copies.reserve(list.size());
    for (const Tensor& tensor : list) copies.push_back(empty_like(tensor));
    return copies;
  }
  // `name = new list`: the old one goes once the new one is there.
  static void swap_in(std::vector<Tensor>& name, std::vector<Tensor> list) {
    name.swap(list);
    release(list);
  }
  static void release(std::vector<Tensor>& list) {
    while (!list.empty()) list.pop_back();
  }

  SgdOptions options_;
  StepKind kind_;
  std::vector<Tensor> momenta_;
};

}  // namespace

std::unique_ptr<Optimizer> sgd(std::vector<Tensor> parameters, const SgdOptions& options, StepKind kind) {
  return std::make_unique<Sgd>(std::move(parameters), options, kind);
}

}  // namespace vramwise::tape
