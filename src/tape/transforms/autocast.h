// torch.autocast("cuda", type): matrix products in 16 bits, what loses precision in float32, and each weight cast once.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// A scope of autocast. The casts of weights that it keeps are released at its end, all at once.
class Autocast {
 public:
  Autocast(Tape& tape, DType type, bool keeps_casts = true);
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast();

  DType type() const { return type_; }
  /// `x` in `type`; a weight's cast is kept for the next use.
  Tensor cast(const Tensor& x, DType type);
  /// The weights' casts that are kept, in the order in which they were made.
  std::vector<std::pair<const TensorData*, Tensor>>& casts() { return keeper_->casts_; }

 private:
  Tape& tape_;
  DType type_;
  bool keeps_casts_;
  Autocast* outer_;
  Autocast* keeper_;  ///< the outermost scope keeps the casts
  std::vector<std::pair<const TensorData*, Tensor>> casts_;
};

/// How an op behaves under autocast (aten/src/ATen/autocast_mode.h): its operands are cast, and inside it autocast is
/// off. Declared before the op's Drop, for the operands' casts go before the operands themselves.
class AutocastPolicy {
 public:
  using Operands = std::initializer_list<Tensor*>;

  /// They become 16-bit: matrix products, convolutions, attention.
  static AutocastPolicy lower(Tape& tape, Operands operands) { return AutocastPolicy(tape, operands, false); }
  /// They become float32: powers, exponentials, norms, losses.
  static AutocastPolicy widen(Tape& tape, Operands operands) { return AutocastPolicy(tape, operands, true); }
  AutocastPolicy(const AutocastPolicy&) = delete;
  AutocastPolicy& operator=(const AutocastPolicy&) = delete;
  ~AutocastPolicy() {
    if (before_ != nullptr) tape_.set_autocast(before_);
  }

 private:
  AutocastPolicy(Tape& tape, Operands operands, bool widens) : tape_(tape), before_(tape.autocast()) {
    if (before_ != nullptr) apply(operands, widens);
  }
  void apply(Operands operands, bool widens);

  Tape& tape_;
  Autocast* before_;
  Tensor originals_[4];
};

/// For ops that take the result's type as an argument (softmax, sum): float32 for a 16-bit operand under autocast.
std::optional<DType> autocast_result_type(const Tensor& x);

}  // namespace vramwise::tape
