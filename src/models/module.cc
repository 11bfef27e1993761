// Parameters and layers: each becomes one allocation, in the order in which a model is moved to the device.

#include "models/module.h"

namespace vramwise {

Tensor ParameterMaker::parameter(const char* name, const tape::Dims& sizes) {
  Tensor tensor = tape_.parameter(sizes, type_);
  made_.push_back({name, layer_, tensor});
  return tensor;
}

Tensor ParameterMaker::buffer(const tape::Dims& sizes, DType type) { return tape_.empty(sizes, type); }

std::vector<Tensor> ParameterMaker::tensors() const {
  std::vector<Tensor> tensors;
  tensors.reserve(made_.size());
  for (const NamedParameter& parameter : made_) tensors.push_back(parameter.tensor);
  return tensors;
}

Linear::Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias)
    : weight(maker.parameter(name, {out, in})), bias(has_bias ? maker.parameter(name, {out}) : Tensor()) {}

Embedding::Embedding(ParameterMaker& maker, const char* name, std::int64_t rows, std::int64_t width)
    : weight(maker.parameter(name, {rows, width})) {}

LayerNorm::LayerNorm(ParameterMaker& maker, const char* name, std::int64_t width)
    : weight(maker.parameter(name, {width})), bias(maker.parameter(name, {width})) {}

}  // namespace vramwise
