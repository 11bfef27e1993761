// The recomputation runs under a graph of its own, inside the backward pass of the outer one; it is differentiated at
// once and is gone when that returns, so one function's activations exist at a time.
#include "nn/checkpoint.h"

#include <utility>
#include <vector>

namespace vramwise {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

using TensorFunction = std::function<Tensor(const Tensor&)>;

struct Captured : torch::CustomClassHolder {
  explicit Captured(TensorFunction f) : function(std::move(f)) {}
  TensorFunction function;
};

// The random generators that code on `device` may draw from.
std::vector<at::Generator> generators(torch::Device device) {
  std::vector<at::Generator> all = {at::globalContext().defaultGenerator(at::kCPU)};
  if (!device.is_cpu()) all.push_back(at::globalContext().defaultGenerator(device));
  return all;
}

variable_list random_states(torch::Device device) {
  variable_list states;
  for (at::Generator& generator : generators(device)) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    states.push_back(generator.get_state());
  }
  return states;
}

void set_random_states(torch::Device device, const variable_list& states) {
  std::vector<at::Generator> all = generators(device);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::lock_guard<std::mutex> lock(all[i].mutex());
    all[i].set_state(states[i]);
  }
}

// Puts the generators back to where they stood, also when the recomputation fails.
class RandomStateGuard {
 public:
  RandomStateGuard(torch::Device device, const variable_list& states) : device_(device), outer_(random_states(device)) {
    set_random_states(device_, states);
  }
  ~RandomStateGuard() { set_random_states(device_, outer_); }
  RandomStateGuard(const RandomStateGuard&) = delete;
  RandomStateGuard& operator=(const RandomStateGuard&) = delete;

 private:
  torch::Device device_;
  variable_list outer_;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const c10::intrusive_ptr<Captured>& captured) {
    variable_list saved = random_states(x.device());
    saved.insert(saved.begin(), x);
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["function"] = c10::IValue::make_capsule(captured);
    return captured->function(x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    variable_list saved = ctx->get_saved_variables();
    const auto captured = c10::static_intrusive_pointer_cast<Captured>(ctx->saved_data["function"].toCapsule());
    const Tensor x = saved[0].detach().requires_grad_();
    Tensor y;
    {
      const RandomStateGuard random(x.device(), {saved.begin() + 1, saved.end()});
      const torch::AutoGradMode with_grad(true);
      y = captured->function(x);
    }
    torch::autograd::backward({std::move(y)}, {std::move(gradients[0])});
    return {x.grad(), {}};
  }
};

}  // namespace

Tensor checkpoint(TensorFunction function, const Tensor& x) {
  return Checkpoint::apply(x, c10::make_intrusive<Captured>(std::move(function)));
}

}  // namespace vramwise
