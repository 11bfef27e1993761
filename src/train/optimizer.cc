// at::_fused_adamw_ reads and writes each element once, on the CPU and on CUDA alike, and divides gradients by
// `grad_scale` in the same pass: unscaling and clipping cost nothing.
#include "train/optimizer.h"

#include <algorithm>

#include "train/offload.h"

namespace vramwise {
namespace {

class DeviceOptimizer : public Optimizer {
 public:
  DeviceOptimizer(FlatModel model, OptimizerState state, AdamWRule rule)
      : Optimizer(std::move(model), std::move(state)), rule_(rule) {}

  void step(const AdamWStep& step) override {
    const bool has_master = state_.master.defined();
    rule_.apply({0, has_master ? state_.master : model_.weights, model_.gradients, state_.exp_avg, state_.exp_avg_sq},
                step);
    if (has_master) weights_from_master();
  }

 private:
  AdamWRule rule_;
};

}  // namespace

void Optimizer::weights_from_master() {
  const torch::NoGradGuard no_grad;
  if (state_.master.defined()) model_.weights.copy_(state_.master);
}

void AdamWRule::apply(const AdamWPiece& piece, const AdamWStep& step) const {
  const torch::NoGradGuard no_grad;
  const auto scalar = torch::TensorOptions().dtype(torch::kFloat).device(piece.parameters.device());
  const torch::Tensor number = torch::full({}, static_cast<double>(step.number), scalar);
  std::optional<torch::Tensor> divisor;
  if (step.gradient_divisor != 1.0) divisor = torch::full({}, step.gradient_divisor, scalar);

  const std::int64_t count = piece.parameters.numel();
  const std::int64_t decayed = std::clamp<std::int64_t>(decayed_ - piece.begin, 0, count);
  const auto update = [&](std::int64_t from, std::int64_t to, double weight_decay) {
    if (from == to) return;
    const auto part = [&](const torch::Tensor& t) { return t.narrow(0, from, to - from); };
    at::_fused_adamw_({part(piece.parameters)}, {part(piece.gradients)}, {part(piece.exp_avg)},
                      {part(piece.exp_avg_sq)}, {}, {number}, step.learning_rate, spec_.beta1, spec_.beta2,
                      weight_decay, spec_.eps, /*amsgrad=*/false, /*maximize=*/false, divisor, std::nullopt);
  };
  update(0, decayed, spec_.weight_decay);
  update(decayed, count, 0.0);
}

Result<std::unique_ptr<Optimizer>> make_optimizer(const FlatLayout& layout, const FlatModel& model,
                                                  const OptimizerSpec& spec, const OptimizerPlace& place) {
  const AdamWRule rule(layout, spec);
  if (place.offload) return make_offloaded_optimizer(layout, model, rule, place.folder);
  const torch::Device device = model.weights.device();
  OptimizerState state;
  if (model.weights.scalar_type() != torch::kFloat) state.master = make_flat(layout, torch::kFloat, device);
  state.exp_avg = make_flat(layout, torch::kFloat, device);
  state.exp_avg_sq = make_flat(layout, torch::kFloat, device);
  return std::unique_ptr<Optimizer>(std::make_unique<DeviceOptimizer>(model, state, rule));
}

}  // namespace vramwise
