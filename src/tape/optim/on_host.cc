// An optimizer whose parameters and gradients are CPU tensors: its states lie in ordinary memory of the host.

#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

class OnHost final : public Optimizer {
 public:
  OnHost(std::vector<Tensor> parameters, int states)
      : Optimizer(std::move(parameters)), states_(states), has_states_(parameters_.size()) {}

  void step() override {
    for (const std::size_t i : with_gradient()) {
      if (has_states_[i]) continue;
      has_states_[i] = true;
      parameters_[i].tape().take_host_memory(HostMemory::kPageable, states_ * parameters_[i].bytes());
    }
  }

 private:
  int states_;
  std::vector<bool> has_states_;
};

}  // namespace

std::unique_ptr<Optimizer> on_host(std::vector<Tensor> parameters, int states) {
  return std::make_unique<OnHost>(std::move(parameters), states);
}

}  // namespace vramwise::tape
