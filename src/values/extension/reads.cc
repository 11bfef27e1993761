// Values on their way to the host. An operator whose result's size depends on values reads a count from the device; its
// kernel did not write it, so the emulator is told what that read shall yield. Sources: ATen/native/cuda of PyTorch 2.4
// to 2.14: Nonzero.cu (an int for each 2^30 elements), UniqueCub.cu and Unique.cu (an int64 length; for bool the number
// of true values as an int), Equal.cpp (one bool).
#include <algorithm>
#include <cstring>
#include <limits>

#include "values/extension/call.h"
#include "values/extension/emulator_hooks.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

/// Larger copies to the host are checkpoints: filling them would only touch the host's memory.
constexpr std::int64_t kMostReadBytes = 8 << 20;

template <typename T>
void next_read(T value) {
  emulator().next_read(&value, sizeof value);
}

void hint_count(const Operator& op, const at::Tensor& self, std::int64_t count) {
  // nonzero splits what has more than 2^31 elements: left to the fill.
  const bool int_sized = op.special == Special::kNonzero ? self.numel() < std::numeric_limits<std::int32_t>::max()
                                                         : self.scalar_type() == c10::kBool;
  if (int_sized) {
    next_read(static_cast<std::int32_t>(count));
  } else if (op.special == Special::kUnique) {
    next_read(count);
  }
}

/// unique of bool counts the true values; of anything else, and of runs, the different ones.
bool counts_true_values(const Operator& op, const at::Tensor& self) {
  return self.scalar_type() == c10::kBool && (op.name == "aten::_unique2" || op.name == "aten::_unique");
}

}  // namespace

void hint_result(const Operator& op, Arguments arguments, const std::vector<c10::IValue>& results) {
  if (op.special == Special::kEqual) return next_read(results[0].toBool());
  const at::Tensor& self = arguments[0].toTensor();
  if (op.special == Special::kNonzero) {
    hint_count(op, self, results[0].toTensor().size(0));
  } else if (counts_true_values(op, self)) {
    next_read(static_cast<std::int32_t>(alias(self).count_nonzero().item<std::int64_t>()));
  } else if (op.special == Special::kUnique) {
    const bool by_dimension = op.name == "aten::unique_dim" || op.name == "aten::unique_dim_consecutive";
    const at::Tensor& unique = results[0].toTensor();
    const std::int64_t dim = by_dimension && arguments[1].isInt() ? arguments[1].toInt() : 0;
    next_read(unique.dim() == 0 ? std::int64_t{1} : unique.size(dim));
  }
}

void hint_fill(const Operator& op, Arguments arguments) {
  if (op.special != Special::kNonzero && op.special != Special::kUnique && op.special != Special::kEqual) return;
  const bool fill = emulator().fill() != 0;
  if (op.special == Special::kEqual) return next_read(fill);
  const at::Tensor& self = arguments[0].toTensor();
  const std::int64_t all = self.numel();
  if (op.special == Special::kNonzero) {
    if (all < std::numeric_limits<std::int32_t>::max()) next_read(static_cast<std::int32_t>(fill ? all : 0));
  } else if (counts_true_values(op, self)) {
    next_read(static_cast<std::int32_t>(fill ? all : 0));
  } else {
    next_read(std::min<std::int64_t>(all, 1));
  }
}

CallPointer read_by_host(const Operator& op, Arguments arguments) {
  if (op.special == Special::kScalarRead) {
    const at::Tensor& self = arguments[0].toTensor();
    if (!is_plain(self) || !self.is_cuda()) return nullptr;
    const Knowledge knowledge = knowledge_of(self);
    if (knowledge.known == Known::kNo) emulator().forget(const_cast<void*>(self.const_data_ptr()), self.itemsize());
    if (knowledge.known == Known::kUniform && open_to_host(self)) alias(self).fill_(knowledge.value);
    return nullptr;
  }
  const at::Tensor target = arguments[0].toTensor();
  const at::Tensor source = arguments[1].toTensor();
  if (!is_plain(target) || !target.is_cpu() || !is_plain(source) || !source.is_cuda()) return nullptr;
  const Knowledge knowledge = knowledge_of(source);
  const auto bytes = static_cast<std::int64_t>(target.nbytes());
  if (knowledge.known == Known::kYes || bytes > kMostReadBytes || !target.is_contiguous()) return nullptr;
  if (knowledge.known == Known::kUniform) {
    return std::make_unique<Call>(op, [target, value = knowledge.value](const auto&) { target.fill_(value); });
  }
  if (partly_known(source)) return nullptr;
  return std::make_unique<Call>(op, [target, bytes](const auto&) {
    std::memset(target.mutable_data_ptr(), static_cast<int>(emulator().fill()), static_cast<std::size_t>(bytes));
  });
}

}  // namespace vramwise::values
