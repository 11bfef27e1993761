// AdamW over flat buffers, with its states on the device or one tier below.
//
// The fp32 parameters that are optimized are the working weights themselves, or, where those are 16-bit or the states
// live elsewhere, a master copy.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "run/run_spec.h"
#include "train/flat_parameters.h"

namespace vramwise {

/// The buffers of the device: `weights` in the compute precision, `gradients` in fp32, both of the layout.
struct FlatModel {
  torch::Tensor weights;
  torch::Tensor gradients;
};

/// Flat fp32 buffers, wherever they live.
struct OptimizerState {
  torch::Tensor master;  ///< undefined where the working weights are the optimized parameters
  torch::Tensor exp_avg;
  torch::Tensor exp_avg_sq;
};

struct AdamWStep {
  std::int64_t number = 1;  ///< of the updates made so far, this one included: Adam's bias correction
  double learning_rate = 0;
  double gradient_divisor = 1;  ///< gradients count 1 / this: undoes the loss scale, and clips
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// One update of master copy, states and weights. May change the contents of the gradients.
  virtual void step(const AdamWStep& step) = 0;

  const OptimizerState& state() const { return state_; }

  /// Makes the working weights those of the master copy: after it was filled by a start or a checkpoint.
  void weights_from_master();

  /// Takes what was touched in a file-backed state out of resident memory.
  virtual void release_pages() {}

 protected:
  Optimizer(FlatModel model, OptimizerState state) : model_(std::move(model)), state_(std::move(state)) {}

  FlatModel model_;
  OptimizerState state_;
};

struct OptimizerPlace {
  bool offload = false;  ///< host memory for a GPU, a file in `folder` for the CPU
  std::string folder;
};

/// States start as zeros, a master copy unfilled. Errors: the file cannot be made as large as needed. Throws c10::Error
/// when memory runs out.
Result<std::unique_ptr<Optimizer>> make_optimizer(const FlatLayout& layout, const FlatModel& model,
                                                  const OptimizerSpec& spec, const OptimizerPlace& place);

/// The update itself, on buffers of one device: elements [begin, begin + count) of the layout, `parameters` and the
/// others being of `count` elements. Used in pieces by the offloaded optimizers.
struct AdamWPiece {
  std::int64_t begin = 0;
  torch::Tensor parameters;
  torch::Tensor gradients;
  torch::Tensor exp_avg;
  torch::Tensor exp_avg_sq;
};

/// PyTorch's fused AdamW with weight decay on what lies below layout.decayed().
class AdamWRule {
 public:
  AdamWRule(const FlatLayout& layout, const OptimizerSpec& spec) : decayed_(layout.decayed()), spec_(spec) {}
  void apply(const AdamWPiece& piece, const AdamWStep& step) const;

 private:
  std::int64_t decayed_;
  OptimizerSpec spec_;
};

}  // namespace vramwise
