// torch.amp.GradScaler: keeps fp16 gradients from vanishing. All its tensors hold one number each, but each is a block.
#pragma once

#include "tape/optim/optimizer.h"

namespace vramwise::tape {

class GradScaler {
 public:
  /// `are_shards`: of gradients; the ranks then tell each other what they found.
  explicit GradScaler(bool are_shards = false) : are_shards_(are_shards) {}

  /// loss × scale, whose backward pass is run instead of the loss'.
  Tensor scale(const Tensor& loss);
  /// Before gradients are looked at (clipping); step() does it otherwise.
  void unscale(const Optimizer& optimizer);
  void step(Optimizer& optimizer);
  void update();

 private:
  Tensor found_inf(const Optimizer& optimizer, const Tensor& inverse_scale) const;

  bool are_shards_;
  Tensor scale_;
  Tensor growth_tracker_;
  Tensor found_inf_;  ///< of this step's unscaled gradients
  bool is_unscaled_ = false;
};

}  // namespace vramwise::tape
