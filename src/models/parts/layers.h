// How a model runs one layer of its stack: as it is, or checkpointed, and with hooks around it.
#pragma once

#include <utility>
#include <vector>

#include "models/model.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {

namespace internal {
template <typename Layer>
Tensor layer_in_hooks(const ForwardOptions& options, int number, const Tensor& hidden, Layer layer) {
  // GradientCheckpointingLayer checkpoints forward(): hooks stay outside.
  const Tensor in = options.hooks != nullptr ? options.hooks->before_layer(number, {hidden}).front() : hidden;
  Tensor out;
  if (options.checkpointing.covers(number)) {
    const auto again = [layer = std::move(layer)](const std::vector<Tensor>& args) { return layer(args[0]); };
    out = tape::checkpoint(in.tape(), again, {in}, options.checkpointing.is_selective);
  } else {
    out = layer(in);
  }
  if (options.hooks != nullptr) options.hooks->after_layer(number, out);
  return out;
}

template <typename Layer>
Tensor really_run_layer(const ForwardOptions& options, int number, const Tensor& hidden, Layer layer) {
  if (hidden.tape().module_hooks() == nullptr) return layer_in_hooks(options, number, hidden, std::move(layer));
  return tape::call_module({&options, number}, {}, hidden,
                           [&](const Tensor& x) { return layer_in_hooks(options, number, x, std::move(layer)); });
}
}  // namespace internal

/// `layer(hidden)` as the run wants its layer of this number. `layer` lives until the backward pass has left it.
template <typename Layer>
Tensor run_layer(const ForwardOptions& options, int number, const Tensor& hidden, Layer layer) {
  const auto run = [&](const Tensor& in) { return internal::really_run_layer(options, number, in, std::move(layer)); };
  return options.repeater != nullptr ? options.repeater->run(number, hidden, run) : run(hidden);
}

}  // namespace vramwise
