// Optimizers: their states and the temporaries of a step, in the order in which torch.optim makes them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Parameters without a gradient are left alone; states appear with the first step.
  virtual void step() = 0;
  void zero_grad(bool set_to_none = true);
  const std::vector<Tensor>& parameters() const { return parameters_; }
  /// Whether the step itself takes the scale off the gradients (_step_supports_amp_scaling): fused kernels do.
  virtual bool handles_grad_scale() const { return false; }

 protected:
  explicit Optimizer(std::vector<Tensor> parameters) : parameters_(std::move(parameters)) {}
  /// The indices of the parameters that have a gradient.
  std::vector<std::size_t> with_gradient() const;
  /// The same, a list for each type: foreach kernels take tensors of one type.
  std::vector<std::vector<std::size_t>> by_type() const;
  /// What an op over parameters and `gradients` copies of them: the part that belongs to a parameter which is a part
  /// itself (a DTensor that is Shard, while its gradient is Replicate).
  std::vector<Tensor> copied_parts(const std::vector<std::size_t>& indices, const std::vector<Tensor>& gradients) const;
  std::vector<Tensor> copied_parts(const std::vector<std::size_t>& indices) const;

  std::vector<Tensor> parameters_;
};

/// The three ways in which torch.optim runs a step: kernels over all parameters at once, a loop, one fused kernel.
enum class StepKind : std::uint8_t { kForeach, kLoop, kFused };

std::unique_ptr<Optimizer> adamw(std::vector<Tensor> parameters, StepKind kind = StepKind::kForeach);

struct SgdOptions {
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
};
std::unique_ptr<Optimizer> sgd(std::vector<Tensor> parameters, const SgdOptions& options = {},
                               StepKind kind = StepKind::kForeach);

/// torch.optim.Muon; all parameters are matrices.
std::unique_ptr<Optimizer> muon(std::vector<Tensor> parameters);

/// torch.optim.Adafactor. By default PyTorch runs it as a loop; there is no fused kernel.
std::unique_ptr<Optimizer> adafactor(std::vector<Tensor> parameters, StepKind kind = StepKind::kLoop);
/// transformers.Adafactor with scale_parameter and relative_step off, as the Trainer makes it.
std::unique_ptr<Optimizer> transformers_adafactor(std::vector<Tensor> parameters);

enum class BitsandbytesKind : std::uint8_t { kAdamW, kLion };
struct BitsandbytesOptions {
  BitsandbytesKind kind = BitsandbytesKind::kAdamW;
  bool is_8bit = true;
  bool is_paged = false;
};
/// bitsandbytes.optim: AdamW, AdamW8bit, PagedAdamW, PagedAdamW8bit, and the same of Lion.
std::unique_ptr<Optimizer> bitsandbytes(std::vector<Tensor> parameters, const BitsandbytesOptions& options = {});

/// One that steps parameters on the host, with so many states of each parameter's size: nothing of the device.
std::unique_ptr<Optimizer> on_host(std::vector<Tensor> parameters, int states);

/// ZeroRedundancyOptimizer around one of this rank's share. A GradScaler sees the outer one, which takes no scale.
std::unique_ptr<Optimizer> zero_redundancy(std::unique_ptr<Optimizer> optimizer);

/// Optimizers of a run that has several, which are stepped in this order.
std::unique_ptr<Optimizer> one_after_another(std::vector<std::unique_ptr<Optimizer>> optimizers);

/// torch.nn.utils.clip_grad_norm_ over all gradients. Where they are shards, the ranks sum up their norms.
void clip_grad_norm(const std::vector<Tensor>& parameters, bool are_shards = false);

/// A parameter of a model of which some layers are shared out over the ranks (tensor parallelism).
struct ClippedParameter {
  Tensor tensor;
  bool is_distributed = false;  ///< a DTensor
  bool is_replicated = false;   ///< a DTensor that is whole on every rank
};
/// Clipping as transformers' Trainer does it where some parameters are DTensors (_mixed_mesh_grad_norm): norms of
/// either kind, and their norm.
void clip_mixed_grad_norm(const std::vector<ClippedParameter>& parameters);

}  // namespace vramwise::tape
