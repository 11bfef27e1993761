// Autocast as aten/src/ATen/autocast_mode.cpp of PyTorch 2.14 does it: which tensors are cast, and which casts are
// kept.

#include "tape/transforms/autocast.h"

#include "tape/ops/pointwise.h"

namespace vramwise::tape {
namespace {

bool is_eligible(const Tensor& x) {
  return x.defined() && !x->on_host && is_floating(x.type()) && x.type() != DType::kFloat64;
}

}  // namespace

Autocast::Autocast(Tape& tape, DType type, bool keeps_casts)
    : tape_(tape), type_(type), keeps_casts_(keeps_casts), outer_(tape.autocast()), keeper_(this) {
  if (outer_ != nullptr) keeper_ = outer_->keeper_;
  tape.set_autocast(this);
}

Autocast::~Autocast() { tape_.set_autocast(outer_); }

Tensor Autocast::cast(const Tensor& x, DType type) {
  if (!is_eligible(x) || x.type() == type) return x;
  const bool may_keep =
      keeps_casts_ && type == type_ && x.type() == DType::kFloat32 && x->requires_grad && x.is_leaf() && !x.is_view();
  if (!may_keep) return to(x, type);
  for (const auto& [weight, cast] : keeper_->casts_) {
    if (weight == x.get()) return cast;
  }
  Tensor cast = to(x, type);
  keeper_->casts_.emplace_back(x.get(), cast);
  return cast;
}

void AutocastPolicy::apply(Operands operands, bool widens) {
  const DType type = widens ? DType::kFloat32 : before_->type();
  // The compiler of PyTorch's wheels evaluates a call's arguments from the last to the first.
  for (std::size_t i = operands.size(); i-- > 0;) {
    Tensor& operand = **(operands.begin() + i);
    if (operand.defined()) originals_[i] = std::exchange(operand, before_->cast(operand, type));
  }
  tape_.set_autocast(nullptr);
}

std::optional<DType> autocast_result_type(const Tensor& x) {
  if (x.tape().autocast() == nullptr || !is_eligible(x)) return std::nullopt;
  return DType::kFloat32;
}

}  // namespace vramwise::tape
