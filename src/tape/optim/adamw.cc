// AdamW (torch/optim/adam.py). Moments have the parameter's type and layout. The foreach kernels take one temporary of
// every parameter's size at once (the square roots); the loop takes two for one parameter, of which one lives until the
// next parameter's are there; the fused kernel takes none, but keeps its step counters on the card.

#include "tape/ops/pointwise.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(std::vector<Tensor> parameters, StepKind kind)
      : Optimizer(std::move(parameters)), kind_(kind), states_(parameters_.size()) {}

  bool handles_grad_scale() const override { return kind_ == StepKind::kFused; }

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    for (const std::size_t i : with_gradient()) make_state(i);
    switch (kind_) {
      case StepKind::kForeach:
        return step_foreach();
      case StepKind::kLoop:
        return step_loop();
      case StepKind::kFused:
        return step_fused();
    }
  }

 private:
  struct State {  // released from the last member to the first
    Tensor square;
    Tensor mean;
    Tensor step;  // on the card for the fused kernel only
  };

  void make_state(std::size_t i) {
    State& state = states_[i];
    if (state.mean.defined()) return;
    const Tensor& parameter = parameters_[i];
    if (kind_ == StepKind::kFused) state.step = parameter.tape().empty({}, DType::kFloat32);
    state.mean = zeros_like(parameter);
    state.square = zeros_like(parameter);
  }

  void step_foreach() {
    std::vector<Tensor> roots;
    for (const auto& group : by_type()) {
      take_gradients(group);
      std::vector<Tensor> made;
      made.reserve(group.size());
      for (const std::size_t i : group) {
        made.push_back(empty_like(states_[i].square));
        parameters_[i].tape().count_kernel(18 * parameters_[i].bytes());
      }
      release(roots);  // of the group before
      roots = std::move(made);
    }
    release(roots);
  }

  // lerp_(means, gradients), then addcmul_(squares, gradients, gradients).
  void take_gradients(const std::vector<std::size_t>& indices) const {
    copied_parts(indices);
    const std::vector<Tensor> first = copied_parts(indices);
    const std::vector<Tensor> second = copied_parts(indices);
  }

  // A Python list drops its last element first.
  static void release(std::vector<Tensor>& list) {
    while (!list.empty()) list.pop_back();
  }

  void step_loop() {
    Tensor denominator;
    for (const std::size_t i : with_gradient()) {
      take_gradients({i});
      denominator = div(sqrt(states_[i].square), 1.0);
      parameters_[i].tape().count_kernel(14 * parameters_[i].bytes());
    }
  }

  void step_fused() {
    copied_parts(with_gradient());
    for (const std::size_t i : with_gradient()) parameters_[i].tape().count_kernel(7 * parameters_[i].bytes());
  }

  StepKind kind_;
  std::vector<State> states_;
};

}  // namespace

std::unique_ptr<Optimizer> adamw(std::vector<Tensor> parameters, StepKind kind) {
  return std::make_unique<AdamW>(std::move(parameters), kind);
}

}  // namespace vramwise::tape
