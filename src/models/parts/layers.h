// How a model runs one layer of its stack: as it is, or checkpointed.
#pragma once

#include <utility>
#include <vector>

#include "models/model.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {

/// `layer(hidden)` as the run wants its layer of this number. `layer` lives until the backward pass has left it.
template <typename Layer>
Tensor run_layer(const ForwardOptions& options, int number, const Tensor& hidden, Layer layer) {
  if (number >= options.checkpointed_layers) return layer(hidden);
  return tape::checkpoint(hidden.tape(),
                          [layer = std::move(layer)](const std::vector<Tensor>& in) { return layer(in[0]); }, {hidden});
}

}  // namespace vramwise
