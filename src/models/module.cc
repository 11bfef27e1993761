// Parameters and layers: each becomes one allocation, in the order in which a model is moved to the device.

#include "models/module.h"

#include <algorithm>

#include "tape/ops/pointwise.h"

namespace vramwise {

Tensor ParameterMaker::parameter(const char* name, const tape::Dims& sizes) {
  Tensor tensor = tape_.parameter(sizes, type_);
  if (lora_.is_on()) tensor->requires_grad = false;
  made_.push_back({name, layer_, tensor});
  return tensor;
}

Tensor ParameterMaker::parameter_listed_at(std::size_t index, const char* name, const tape::Dims& sizes) {
  Tensor tensor = parameter(name, sizes);
  const auto place = made_.begin() + static_cast<std::ptrdiff_t>(index);
  std::rotate(place, made_.end() - 1, made_.end());
  return tensor;
}

Tensor ParameterMaker::adapter(const char* name, const tape::Dims& sizes) {
  Tensor tensor = tape_.parameter(sizes, DType::kFloat32);
  made_.push_back({name, layer_, tensor});
  return tensor;
}

bool LoraOptions::adapts(std::string_view layer_name) const {
  if (!is_on()) return false;
  const std::string_view last = layer_name.substr(layer_name.rfind('.') + 1);
  if (targets.empty()) return last != "lm_head";
  return std::find(targets.begin(), targets.end(), last) != targets.end();
}

Tensor ParameterMaker::buffer(const tape::Dims& sizes, DType type) { return tape_.empty(sizes, type); }

std::vector<Tensor> ParameterMaker::tensors() const {
  std::vector<Tensor> tensors;
  tensors.reserve(made_.size());
  for (const NamedParameter& parameter : made_) tensors.push_back(parameter.tensor);
  return tensors;
}

Linear::Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias)
    : weight(maker.parameter(name, {out, in})), bias(has_bias ? maker.parameter(name, {out}) : Tensor()) {
  const LoraOptions& lora = maker.lora();
  if (!lora.adapts(name)) return;
  lora_a = maker.adapter(name, {lora.rank, in});
  lora_b = maker.adapter(name, {out, lora.rank});
  lora_dropout = lora.dropout;
}

Tensor Linear::adapted(const Tensor& x) const {
  Tensor result = tape::linear(x, weight, bias);
  const DType before = result.type();
  const Tensor input = tape::to(x, lora_a.type());
  result = result + tape::linear(tape::linear(tape::dropout(input, lora_dropout), lora_a, {}), lora_b, {}) * 2.0;
  result = tape::to(result, before);
  return result;
}

Embedding::Embedding(ParameterMaker& maker, const char* name, std::int64_t rows, std::int64_t width)
    : weight(maker.parameter(name, {rows, width})) {}

LayerNorm::LayerNorm(ParameterMaker& maker, const char* name, std::int64_t width)
    : weight(maker.parameter(name, {width})), bias(maker.parameter(name, {width})) {}

}  // namespace vramwise
