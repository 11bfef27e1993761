// Parameters and layers: each becomes one allocation, in the order in which a model is moved to the device.

#include "models/module.h"

#include <algorithm>

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {

Tensor ParameterMaker::one(const char* name, const tape::Dims& whole, DType type, bool is_trained) {
  const TensorShare share = share_of(name);
  const tape::Dims sizes = share.part_of(whole);
  if (!of_module_.empty() && (made_.back().layer != layer_ || std::string_view(made_.back().name) != name))
    end_module();
  Tensor tensor = leaf(sizes, type);
  tensor->requires_grad = is_trained;
  if (init_ != nullptr) of_module_.push_back(tensor);
  note(name, tensor);
  if (!share.is_whole()) made_.back().distribution = sizes == whole ? Distribution::kReplicated : Distribution::kPart;
  made_.back().other_numel = whole.product() - sizes.product();
  return tensor;
}

void ParameterMaker::note(const char* name, Tensor tensor) {
  made_.push_back({name, layer_, std::move(tensor), static_cast<int>(made_.size())});
}

Tensor ParameterMaker::leaf(const tape::Dims& sizes, DType type) {
  Tensor tensor = tape_.builds_on_host() ? tape_.on_host(sizes, type) : tape_.parameter(sizes, type);
  tensor->requires_grad = true;
  return tensor;
}

std::vector<std::vector<NamedParameter>> by_mesh(const std::vector<NamedParameter>& parameters) {
  std::vector<std::vector<NamedParameter>> groups;
  const auto is_plain = [](const NamedParameter& parameter) { return parameter.distribution == Distribution::kPlain; };
  for (const NamedParameter& parameter : parameters) {
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const auto& each) { return is_plain(each.front()) == is_plain(parameter); });
    if (group == groups.end())
      groups.push_back({parameter});
    else
      group->push_back(parameter);
  }
  return groups;
}

// Parameters of one module have one name.
void ParameterMaker::end_module() {
  if (of_module_.empty()) return;
  init_->take(of_module_);
  of_module_.clear();
}

Tensor ParameterMaker::parameter(const char* name, const tape::Dims& sizes) {
  Tensor tensor = one(name, sizes, type_, !lora_.is_on());
  // modules_to_save: the module stays, frozen, beside its copy.
  if (!lora_.trains_copy_of(name)) return tensor;
  if (quantization_ == Quantization::kNone) return one(name, sizes, type_, true);
  Tensor copy = tape_.on_host(sizes, DType::kFloat32);
  copy->requires_grad = true;
  note(name, copy);
  pending_copies_.push_back(copy);
  return copy;
}

Tensor ParameterMaker::parameter_listed_at(std::size_t index, const char* name, const tape::Dims& sizes) {
  Tensor tensor = parameter(name, sizes);
  const auto place = made_.begin() + static_cast<std::ptrdiff_t>(index);
  std::rotate(place, made_.end() - 1, made_.end());
  for (Pending& pending : pending_)
    if (pending.at >= index) ++pending.at;
  return tensor;
}

std::shared_ptr<LoraFactors> ParameterMaker::factors(const char* name, std::int64_t in, std::int64_t out) {
  if (!lora_.adapts(name)) return nullptr;
  const Pending pending{made_.size(), std::make_shared<LoraFactors>(), in, out};
  pending.factors->dropout = lora_.dropout;
  for (int i = 0; i < (lora_.uses_dora ? 3 : 2); ++i) note(name, Tensor());
  if (quantization_ == Quantization::kNone) {
    // autocast_adapter_dtype; fully_shard's mixed precision computes in its own type.
    make_factors(pending, stored_type_ == type_ ? DType::kFloat32 : type_);
  } else {
    pending_.push_back(pending);
  }
  return pending.factors;
}

void ParameterMaker::make_factors(const Pending& pending, DType type) {
  LoraFactors& factors = *pending.factors;
  factors.a = made_[pending.at].tensor = leaf({lora_.rank, pending.in}, type);
  factors.b = made_[pending.at + 1].tensor = leaf({pending.out, lora_.rank}, type);
  if (!lora_.uses_dora) return;
  factors.magnitude = made_[pending.at + 2].tensor = leaf({pending.out}, type);
}

std::shared_ptr<tape::Weight4bit> ParameterMaker::quantized(const char* name, const tape::Dims& sizes) {
  if (quantization_ == Quantization::kNone || std::string_view(name) == "lm_head") return nullptr;
  const bool is_nested = quantization_ == Quantization::kNf4Double;
  auto weight =
      std::make_shared<tape::Weight4bit>(tape::quantize_4bit(tape_, sizes, type_, is_nested, quantization_map_));
  note(name, weight->packed);
  return weight;
}

void ParameterMaker::finish() {
  end_module();
  if (quantization_ == Quantization::kNone) return;
  for (const NamedParameter& parameter : made_) {
    const Tensor& tensor = parameter.tensor;
    if (tensor.defined() && tape::is_half(tensor.type())) tape::set_data(tensor, DType::kFloat32);
  }
  tape_.empty_cache();
  for (const Pending& pending : pending_) make_factors(pending, type_);
  for (const Tensor& copy : pending_copies_) tape::move_to_device(copy);
  // autocast_adapter_dtype
  for (const Pending& pending : pending_) {
    tape::set_data(pending.factors->a, DType::kFloat32);
    tape::set_data(pending.factors->b, DType::kFloat32);
  }
  pending_.clear();
  pending_copies_.clear();
}

// Whoever makes models without memory (transformers, as a rule) never gives it any.
void ParameterMaker::replaced(const tape::Dims& sizes) {
  end_module();
  if (init_ != nullptr) init_->take_replaced(leaf(sizes, type_));
}

Tensor ParameterMaker::buffer(const tape::Dims& sizes, DType type) {
  end_module();
  Tensor tensor = tape_.builds_on_host() ? tape_.on_host(sizes, type) : tape_.empty(sizes, type);
  note_buffer(tensor);
  return tensor;
}

std::vector<Tensor> ParameterMaker::tensors() const {
  std::vector<Tensor> tensors;
  tensors.reserve(made_.size());
  for (const NamedParameter& parameter : made_) tensors.push_back(parameter.tensor);
  return tensors;
}

Linear::Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias)
    : quantized(maker.quantized(name, {out, in})), share(maker.share_of(name)), out(out) {
  if (quantized == nullptr) weight = maker.parameter(name, {out, in});
  if (has_bias) bias = maker.parameter(name, {out});
  lora = maker.factors(name, in, out);
}

// TensorParallelLayer.install_forward: a name keeps the layer's own result until the forward call returns.
Tensor Linear::shared_out(const Tensor& x) const {
  if (share.style == TensorStyle::kRowwise) {
    const Tensor result = tape::linear(x, weight, bias, tape::BiasUse::kShare);
    return tape::summed_over_ranks(result);
  }
  Tensor result = tape::linear(tape::replicated(x), weight, bias);
  if (share.style == TensorStyle::kColwise) return result;
  return tape::gathered_over_ranks(result, share.ranks, out);
}

// Linear4bit.forward: in the type that came first, or 16-bit autocast's.
Tensor Linear::from_4bit(Tensor x) const {
  const DType before = x.type();
  x = tape::to(std::move(x), quantized->type);
  if (bias.defined() && bias.type() != x.type()) tape::set_data(bias, x.type());
  return tape::to(tape::linear_4bit(x, *quantized, bias), before);
}

Tensor Linear::changed(const Tensor& x) const {
  Tensor result = quantized != nullptr ? from_4bit(x) : tape::linear(x, weight, bias);
  if (lora == nullptr) return result;
  if (quantized != nullptr) return lora->added_to_4bit(std::move(result), x);
  return lora->added(std::move(result), x, {weight, bias});
}

Tensor Linear::hooked(const Tensor& x) const {
  return tape::call_module(this, {&weight, &bias}, x,
                           [this](const Tensor& in) { return tape::zero3_linear(in, weight, bias); });
}

Conv1d::Conv1d(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out)
    : weight(maker.parameter(name, {in, out})),
      bias(maker.parameter(name, {out})),
      lora(maker.factors(name, in, out)) {}

Tensor Conv1d::operator()(const Tensor& in) const {
  return tape::call_module(this, {&weight, &bias}, in, [this](const Tensor& x) {
    tape::Dims sizes = x.sizes();
    sizes[sizes.size() - 1] = weight.size(1);
    Tensor result = tape::view(tape::addmm(bias, tape::view(x, {-1, x.size(-1)}), weight), sizes);
    return lora == nullptr ? result : lora->added(std::move(result), x, {weight, bias, true});
  });
}

Embedding::Embedding(ParameterMaker& maker, const char* name, std::int64_t rows, std::int64_t width)
    : weight(maker.parameter(name, {rows, width})), share(maker.share_of(name)), rows(rows) {}

LayerNorm::LayerNorm(ParameterMaker& maker, const char* name, std::int64_t width)
    : weight(maker.parameter(name, {width})), bias(maker.parameter(name, {width})) {}

Tensor LayerNorm::hooked(const Tensor& x) const {
  return tape::call_module(this, {&weight, &bias}, x,
                           [this](const Tensor& in) { return tape::layer_norm(in, weight, bias); });
}

}  // namespace vramwise
