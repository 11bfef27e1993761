// What stands in for values that were not computed, where leaving them at the fill would send a program where no real
// run goes: scores of experts are spread over them, and floating-point numbers are finite.
#include <ATen/ops/empty.h>

#include <cmath>
#include <limits>

#include "values/extension/call.h"
#include "values/extension/emulator_hooks.h"
#include "values/extension/notes.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

/// A dimension that experts, groups of them or classes are chosen from; longer ones (a vocabulary, a sequence) are not
/// spread by row.
constexpr std::int64_t kMostChoices = 1024;

const at::Tensor& first_tensor(Arguments arguments) { return arguments[0].toTensor(); }

/// Indices among `choices` along dimension `dim` of `indices`. Balanced: row after row takes the next ones, so each is
/// taken equally often. Worst: every row takes the first.
void write_indices(const Operator& op, const at::Tensor& indices, std::int64_t dim, std::int64_t choices) {
  if (!is_plain(indices) || !small_enough(indices, 0) || choices <= 0 || !open_to_host(indices)) return;
  const std::int64_t taken = indices.dim() == 0 ? 1 : indices.size(dim);
  const std::int64_t rows = taken == 0 ? 0 : indices.numel() / taken;
  const bool spread = routing() == Routing::kBalanced && choices <= kMostChoices;
  const std::int64_t step = taken == choices ? 1 : taken;  // a whole order is turned by one from row to row
  auto values = at::empty({rows, taken}, at::TensorOptions().dtype(c10::kLong));
  auto* const data = values.mutable_data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < taken; ++i) data[row * taken + i] = (i + (spread ? row * step : 0)) % choices;
  }
  const at::Tensor target = alias(indices);
  if (indices.dim() == 0) {
    target.copy_(values.view({}));
  } else {
    const at::Tensor moved = target.movedim(dim, -1);
    moved.copy_(values.view(moved.sizes()));
  }
  set_known(indices);
  if (choices <= kMostChoices && rows > 1) note_routed(op.name, rows, taken, choices);
}

std::int64_t dimension(const at::Tensor& self, const c10::IValue& argument, std::int64_t otherwise) {
  if (self.dim() == 0) return 0;
  const std::int64_t dim = argument.isInt() ? argument.toInt() : otherwise;
  return dim < 0 ? dim + self.dim() : dim;
}

/// The results of topk, sort, max along a dimension: values, which stay unknown, and indices.
Call::Finish choose(const Operator& op, std::int64_t dim, std::int64_t choices) {
  return [&op, dim, choices](const std::vector<c10::IValue>& outputs) {
    if (outputs.size() != 2 || !outputs[1].isTensor()) return;
    if (outputs[0].isTensor()) set_unknown(outputs[0].toTensor());
    write_indices(op, outputs[1].toTensor(), dim, choices);
  };
}

Call::Finish choose_one(const Operator& op, Arguments arguments) {
  const at::Tensor& self = first_tensor(arguments);
  if (arguments[1].isNone()) return nullptr;
  const std::int64_t dim = dimension(self, arguments[1], -1);
  const bool kept = arguments[2].toBool();
  const std::int64_t choices = self.dim() == 0 ? 1 : self.size(dim);
  return [&op, dim, kept, choices](const std::vector<c10::IValue>& outputs) {
    if (outputs.size() != 1 || !outputs[0].isTensor()) return;
    const at::Tensor& indices = outputs[0].toTensor();
    // The dimension is gone from the result, or of size 1; as a last one of size 1 it holds one choice a row.
    if (is_plain(indices))
      write_indices(op, kept || indices.dim() == 0 ? indices : indices.unsqueeze(-1), kept ? dim : -1, choices);
  };
}

/// sort(self, dim, descending) and sort.stable(self, *, stable, dim, descending)
std::size_t sort_dimension_at(Arguments arguments) { return arguments.size() > 3 ? 2 : 1; }

Call::Finish assume_choice(const Operator& op, Arguments arguments) {
  const at::Tensor& self = first_tensor(arguments);
  if (op.special == Special::kArgExtreme) return choose_one(op, arguments);
  const bool sorts = op.special == Special::kSort;
  const std::size_t at = sorts ? sort_dimension_at(arguments) : op.special == Special::kTopK ? 2 : 1;
  const std::int64_t dim = dimension(self, arguments[at], -1);
  const std::int64_t choices = self.dim() == 0 ? 1 : self.size(dim);
  if (op.special == Special::kExtremeOfDim && !arguments[2].toBool()) {
    return [&op, choices](const std::vector<c10::IValue>& outputs) {
      if (outputs.size() != 2 || !outputs[1].isTensor() || !is_plain(outputs[1].toTensor())) return;
      set_unknown(outputs[0].toTensor());
      const at::Tensor& indices = outputs[1].toTensor();
      write_indices(op, indices.dim() == 0 ? indices : indices.unsqueeze(-1), -1, choices);
    };
  }
  return choose(op, dim, choices);
}

/// The truth value that a comparison has for every finite number; none: it depends on the number.
std::optional<bool> of_any_finite(const Operator& op, Arguments arguments) {
  if (op.special == Special::kIsNan || op.special == Special::kIsSignedInf) return false;
  const auto name = op.name.substr(op.name.find("::") + 2);
  if (op.special == Special::kCompareTensor) {
    const bool with_itself = arguments[1].toTensor().is_same(first_tensor(arguments));
    if (!with_itself || name.size() != 2) return std::nullopt;
    return name == "eq" || name == "le" || name == "ge";
  }
  const c10::Scalar other = arguments[1].toScalar();
  if (!other.isFloatingPoint() || !std::isinf(other.toDouble())) return std::nullopt;
  const bool positive = other.toDouble() > 0;
  if (name == "eq") return false;
  if (name == "ne") return true;
  return (name == "lt" || name == "le") == positive;
}

Call::Finish assume_finite(const Operator& op, Arguments arguments) {
  const auto value = of_any_finite(op, arguments);
  if (!value.has_value()) return nullptr;
  return [&op, value = *value](const std::vector<c10::IValue>& outputs) {
    if (outputs.size() != 1 || !outputs[0].isTensor()) return;
    note_assumed_finite(op.name);
    write_uniform(outputs[0].toTensor(), value);
  };
}

/// Its two checks each read one truth value: that the probabilities are valid, and that their sum is zero.
Call::Finish assume_probabilities() {
  const bool valid = true;
  emulator().next_read(&valid, sizeof valid);
  return [](const std::vector<c10::IValue>& outputs) {
    emulator().next_read(nullptr, 0);
    for (const auto& output : outputs) each_tensor(output, [](const at::Tensor& each) { set_unknown(each); });
  };
}

Call::Finish assumption(const Operator& op, Arguments arguments, const Survey& survey) {
  switch (op.special) {
    case Special::kTopK:
    case Special::kSort:
    case Special::kArgExtreme:
    case Special::kExtremeOfDim:
      return survey.floats_read && !op.out_variant ? assume_choice(op, arguments) : nullptr;
    case Special::kIsNan:
    case Special::kIsSignedInf:
    case Special::kCompareScalar:
    case Special::kCompareTensor:
      return survey.floats_read && !op.out_variant ? assume_finite(op, arguments) : nullptr;
    case Special::kMultinomial:
      return assume_probabilities();
    case Special::kUnscale:
      note_assumed_finite(op.name);  // found_inf stays as it was: nothing was found
      each_tensor(arguments[0], [](const at::Tensor& each) { set_unknown(each); });
      return [](const auto&) {};
    default:
      return nullptr;
  }
}

}  // namespace

CallPointer assume(const Operator& op, Arguments arguments, const Survey& survey) {
  Call::Finish finish = assumption(op, arguments, survey);
  return finish ? std::make_unique<Call>(op, std::move(finish)) : nullptr;
}

}  // namespace vramwise::values
