// The forward passes of PEFT 0.21: tuners/lora/layer.py (Linear), bnb.py (Linear4bit), variants.py and dora.py (DoRA).
// A scaling of 2 stands for any: its value decides nothing.

#include "models/lora.h"

#include <algorithm>

#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

namespace {

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('.') + 1); }

bool has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// DoraLinearLayer.get_weight_norm, no part of the graph.
Tensor weight_norm(const Tensor& weight, const Tensor& lora_weight, bool is_transposed) {
  const GradMode no_grad(weight.tape(), false);
  Tensor sum = is_transposed ? t(weight) : weight;
  sum = sum + lora_weight * 2.0;
  return tape::internal::reduce(sum, tape::internal::dim_bits({1}, 2), false, sum.type());
}

// peft.utils.transpose makes a Parameter of a Parameter: a leaf that autograd then computes a gradient for.
Tensor transposed(const Tensor& weight, const Tensor& parameter) {
  Tensor turned = t(weight);
  if (weight.get() != parameter.get()) return turned;
  turned = detach(turned);
  turned->requires_grad = true;
  return turned;
}

}  // namespace

bool LoraOptions::adapts(std::string_view layer_name) const {
  if (!is_on() || trains_copy_of(layer_name)) return false;
  const std::string_view last = last_part(layer_name);
  return targets.empty() ? last != "lm_head" : has(targets, last);
}

bool LoraOptions::trains_copy_of(std::string_view layer_name) const {
  return is_on() && has(modules_to_save, last_part(layer_name));
}

Tensor LoraFactors::low_rank(Tensor x) const {
  return linear(linear(tape::dropout(std::move(x), dropout), a), b) * 2.0;
}

Tensor LoraFactors::added(Tensor result, const Tensor& x, const LoraBase& base) const {
  const DType before = result.type();
  const Tensor input = to(x, a.type());
  if (magnitude.defined()) {
    const Tensor dropped = dropout > 0 ? tape::dropout(input, dropout) : input;
    const Tensor share = share_with_magnitude(result, dropped, base);
    result = result + share;
  } else {
    result = result + low_rank(input);
  }
  result = to(result, before);
  return result;
}

Tensor LoraFactors::added_to_4bit(Tensor result, const Tensor& x) const {
  result = clone(std::move(result));
  const bool converts = x.tape().autocast() == nullptr;
  const DType before = result.type();
  const Tensor input = converts ? to(x, a.type()) : x;
  Tensor output = low_rank(input);
  if (converts) output = to(output, before);
  result = result + output;
  return result;
}

// DoraLinearLayer.get_lora_weight: the product of the factors, by sending the unit matrix through them.
Tensor LoraFactors::product() const {
  const Tensor unit = a.tape().empty({a.size(1), a.size(1)}, a.type());
  return t(linear(linear(unit, a), b));
}

// DoraLinearVariant.forward and DoraLinearLayer.forward.
Tensor LoraFactors::share_with_magnitude(const Tensor& result, const Tensor& x, const LoraBase& base) const {
  const Tensor lora_weight = to(product(), x.type());
  const Tensor weight = to(base.weight, x.type());
  const Tensor norm = weight_norm(weight, detach(lora_weight), base.is_transposed);
  const Tensor scale = view(magnitude / norm, {1, -1});
  const Tensor low = linear(linear(x, a), b);
  Tensor straight = result;
  if (dropout > 0) {
    straight = linear(x, base.is_transposed ? transposed(weight, base.weight) : weight);
  } else if (base.bias.defined()) {
    straight = straight - base.bias;
  }
  Tensor share = (scale - 1) * straight;
  return std::move(share) + scale * low * 2.0;
}

}  // namespace vramwise
