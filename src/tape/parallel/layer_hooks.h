// LayerHooks: what a way of running a model in parallel does around each of its layers.
#pragma once

#include <vector>

#include "tape/tensor.h"

namespace vramwise::tape {

class LayerHooks {
 public:
  virtual ~LayerHooks() = default;
  /// Another argument of a layer, as the layer gets it.
  virtual Tensor argument(const Tensor& x) = 0;
  /// What the layer gets instead of `inputs`, of which some may be undefined.
  virtual std::vector<Tensor> before_layer(int number, std::vector<Tensor> inputs) = 0;
  virtual void after_layer(int number, const Tensor& out) = 0;
};

}  // namespace vramwise::tape
