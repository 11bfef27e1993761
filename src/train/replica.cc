// Gradients are summed in one flat fp32 buffer that lives as long as the run.
//
// fp32: each parameter's .grad is a view into it, and autograd adds in place. 16-bit: autograd makes a 16-bit gradient
// of one parameter; a hook adds it to the buffer and drops it at once, so at no time are there 16-bit gradients of the
// whole model, and micro-batches are summed in fp32.
#include "train/replica.h"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "train/batch_order.h"

namespace vramwise {
namespace {

constexpr std::int64_t kTransferPiece = std::int64_t{1} << 22;  // elements; 16 MiB of gradients

class AddAndDrop : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit AddAndDrop(torch::Tensor accumulated) : accumulated_(std::move(accumulated)) {}

  void operator()(const torch::autograd::Variable& parameter) override {
    add_gradient(accumulated_, parameter.grad());
    parameter.mutable_grad().reset();
  }

 private:
  torch::Tensor accumulated_;
};

torch::ScalarType scalar_type(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return torch::kFloat;
    case Precision::kBf16:
      return torch::kBFloat16;
    case Precision::kFp16:
      return torch::kHalf;
  }
  return torch::kFloat;
}

FlatModel make_model(const FlatLayout& layout, Precision precision, torch::Device device) {
  return {make_flat(layout, scalar_type(precision), device), make_flat(layout, torch::kFloat, device)};
}

}  // namespace

Replica::Replica(const DecoderConfig& config, const FlatLayout& layout, const StepSettings& settings,
                 torch::Device device)
    : settings_(settings),
      device_(device),
      flat_(make_model(layout, settings.precision, device)),
      gradients_(layout.views(flat_.gradients)),
      parameters_(make_parameters(layout)),
      decoder_(config, parameters_) {}

std::vector<torch::Tensor> Replica::make_parameters(const FlatLayout& layout) const {
  std::vector<torch::Tensor> parameters = layout.views(flat_.weights);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].set_requires_grad(true);
    if (settings_.precision == Precision::kFp32) {
      parameters[i].mutable_grad() = gradients_[i];
    } else {
      torch::autograd::impl::set_post_acc_grad_hooks(parameters[i], std::make_unique<AddAndDrop>(gradients_[i]));
    }
  }
  return parameters;
}

Result<Replica::Tokens> Replica::load(const SequenceBatch& batch) const {
  const auto count = static_cast<std::int64_t>(batch.starts.size());
  const auto options = torch::TensorOptions().dtype(torch::kLong).pinned_memory(device_.is_cuda());
  Tokens tokens{torch::empty({count, settings_.seq_len}, options), torch::empty({count, settings_.seq_len}, options)};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t start = batch.starts[static_cast<std::size_t>(i)];
    const std::int64_t at = i * settings_.seq_len;
    VRAMWISE_RETURN_IF_ERROR(
        batch.tokens->read(start, settings_.seq_len, tokens.ids.mutable_data_ptr<std::int64_t>() + at));
    VRAMWISE_RETURN_IF_ERROR(
        batch.tokens->read(start + 1, settings_.seq_len, tokens.targets.mutable_data_ptr<std::int64_t>() + at));
  }
  if (!device_.is_cuda()) return tokens;
  return Tokens{tokens.ids.to(device_, /*non_blocking=*/true), tokens.targets.to(device_, /*non_blocking=*/true)};
}

Result<double> Replica::accumulate(const SequenceBatch& batch, std::int64_t micro_batch, double scale,
                                   const BeforeMicroBatch& before) {
  const c10::OptionalDeviceGuard guard(device_);
  const LossSettings loss_settings{settings_.checkpointed_blocks, settings_.loss_chunk_tokens, scale};
  // Summed on the device, and looked at once: each look would make the host wait for the device.
  torch::Tensor sum = torch::zeros({}, torch::TensorOptions().dtype(torch::kDouble).device(device_));
  std::size_t taken = 0;
  std::int64_t index = 0;
  for (const std::int64_t size :
       split_into_micro_batches(static_cast<std::int64_t>(batch.starts.size()), micro_batch)) {
    if (before) before(index++, size);
    const auto count = static_cast<std::size_t>(size);
    VRAMWISE_ASSIGN_OR_RETURN(const Tokens tokens, load({batch.tokens, batch.starts.subspan(taken, count)}));
    taken += count;
    const LossOutput loss = decoder_.loss(tokens.ids, tokens.targets, loss_settings);
    loss.to_backward.backward();
    sum.add_(loss.nll_sum);
  }
  return sum.item<double>();
}

Result<double> Replica::evaluate(const SequenceBatch& batch, std::int64_t micro_batch, const BeforeMicroBatch& before) {
  const torch::NoGradGuard no_grad;
  const c10::OptionalDeviceGuard guard(device_);
  const LossSettings loss_settings{0, settings_.loss_chunk_tokens, 1.0};
  torch::Tensor sum = torch::zeros({}, torch::TensorOptions().dtype(torch::kDouble).device(device_));
  std::int64_t index = 0;
  for (std::size_t taken = 0; taken < batch.starts.size();) {
    const std::size_t count = std::min(static_cast<std::size_t>(micro_batch), batch.starts.size() - taken);
    if (before) before(index++, static_cast<std::int64_t>(count));
    VRAMWISE_ASSIGN_OR_RETURN(const Tokens tokens, load({batch.tokens, batch.starts.subspan(taken, count)}));
    taken += count;
    sum.add_(decoder_.loss(tokens.ids, tokens.targets, loss_settings).nll_sum);
  }
  return sum.item<double>();
}

void Replica::clear_gradients() {
  const torch::NoGradGuard no_grad;
  if (settings_.precision != Precision::kFp32) {
    for (torch::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
  }
  flat_.gradients.zero_();
}

void sum_gradients(std::span<const std::unique_ptr<Replica>> replicas) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor& sum = replicas.front()->flat().gradients;
  for (const auto& other : replicas.subspan(1)) {
    const torch::Tensor& gradients = other->flat().gradients;
    if (gradients.device() == sum.device()) {
      sum.add_(gradients);
      continue;
    }
    for (std::int64_t at = 0; at < sum.numel(); at += kTransferPiece) {
      const std::int64_t count = std::min(kTransferPiece, sum.numel() - at);
      sum.narrow(0, at, count).add_(gradients.narrow(0, at, count).to(sum.device()));
    }
  }
}

void copy_weights(std::span<const std::unique_ptr<Replica>> replicas) {
  const torch::NoGradGuard no_grad;
  for (const auto& other : replicas.subspan(1)) other->flat().weights.copy_(replicas.front()->flat().weights);
}

}  // namespace vramwise
