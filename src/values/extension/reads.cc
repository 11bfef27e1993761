// Values on their way to the host. An operator whose result's size depends on values reads a count from the device; its
// kernel did not write it, so the emulator is told what that read shall yield. Sources: ATen/native/cuda of PyTorch 2.4
// to 2.14: Nonzero.cu (an int for each 2^30 elements), UniqueCub.cu and Unique.cu (an int64 length; for bool the number
// of true values as an int), Equal.cpp (one bool).
#include <algorithm>
#include <limits>

#include "values/extension/call.h"
#include "values/extension/emulator_hooks.h"
#include "values/extension/notes.h"
#include "values/extension/on_cpu.h"
#include "values/extension/place.h"

namespace vramwise::values {
namespace {

/// Larger copies to the host are checkpoints: filling them would only touch the host's memory.
constexpr std::int64_t kMostReadBytes = 8 << 20;

/// Unknown numbers are the fill as a number, not as bytes: 1 is a count, a loss, a truth value that a program may meet,
/// and a size that it can allocate. Written in place, as the read itself may be one that a hint waits for.
void read_as_fill(const at::Tensor& self) {
  const unsigned fill = emulator().fill();
  if (fill == 0 || !open_to_host(self)) {
    emulator().forget(const_cast<void*>(self.const_data_ptr()), self.itemsize());
  } else {
    alias(self).fill_(static_cast<std::int64_t>(fill));
  }
}

template <typename T>
void next_read(T value) {
  emulator().next_read(&value, sizeof value);
}

/// unique of bool counts the true values; of anything else, and of runs, the different ones.
bool counts_true_values(const Operator& op, const at::Tensor& self) {
  return self.scalar_type() == c10::kBool && (op.name == "aten::_unique2" || op.name == "aten::_unique");
}

bool by_dimension(const Operator& op, Arguments arguments) {
  return op.name == "aten::unique_dim" || op.name == "aten::unique_dim_consecutive" ||
         (op.name == "aten::unique_consecutive" && arguments[3].isInt());
}

/// How many there are comes as an int64 where one kernel counts all, else as an int.
void hint_count(const Operator& op, Arguments arguments, std::int64_t count) {
  const at::Tensor& self = arguments[0].toTensor();
  // nonzero of 2^31 elements and more reads several counts: left to the fill.
  if (op.special == Special::kNonzero && self.numel() >= std::numeric_limits<std::int32_t>::max()) return;
  if (op.special == Special::kNonzero || counts_true_values(op, self) || by_dimension(op, arguments)) {
    next_read(static_cast<std::int32_t>(count));
  } else {
    next_read(count);
  }
}

}  // namespace

void hint_result(const Operator& op, Arguments arguments, const std::vector<c10::IValue>& results) {
  if (op.special == Special::kEqual) return next_read(results[0].toBool());
  const at::Tensor& self = arguments[0].toTensor();
  if (op.special == Special::kUnique && counts_true_values(op, self)) {
    return hint_count(op, arguments, alias(self).count_nonzero().item<std::int64_t>());
  }
  // All of them return one row, or slice, for each that was counted.
  const at::Tensor& found = results[0].toTensor();
  const std::size_t dim_at = op.name == "aten::unique_consecutive" ? 3 : 1;
  const bool sliced = op.special == Special::kUnique && by_dimension(op, arguments);
  hint_count(op, arguments, found.dim() == 0 ? 1 : found.size(sliced ? arguments[dim_at].toInt() : 0));
}

void hint_fill(const Operator& op, Arguments arguments) {
  if (op.special != Special::kNonzero && op.special != Special::kUnique && op.special != Special::kEqual) return;
  const bool fill = emulator().fill() != 0;
  if (op.special == Special::kEqual) return next_read(fill);
  const at::Tensor& self = arguments[0].toTensor();
  const bool each_counts = op.special == Special::kNonzero || counts_true_values(op, self);
  const std::int64_t count = each_counts ? (fill ? self.numel() : 0) : std::min<std::int64_t>(self.numel(), 1);
  if (self.numel() > 1) note_sized(op.name, calling_line(), count, self.numel());
  hint_count(op, arguments, count);
}

CallPointer large_from_host(const Operator& op, Arguments arguments) {
  const at::Tensor target = arguments[0].toTensor();
  const at::Tensor source = arguments[1].toTensor();
  if (!source.is_cpu() || source.scalar_type() != target.scalar_type() || !source.is_contiguous() ||
      !target.is_contiguous()) {
    return nullptr;
  }
  // Forgotten first, so that what the emulator knows of it afterwards is what it copied.
  void* const data = target.mutable_data_ptr();
  emulator().forget(data, target.nbytes());
  set_unknown(target);
  return std::make_unique<Call>(op, [target, data](const auto&) {
    constexpr int kAll = 2;
    if (emulator().known(data, target.nbytes()) == kAll) set_known(target);
  });
}

CallPointer read_by_host(const Operator& op, Arguments arguments) {
  if (op.special == Special::kScalarRead) {
    const at::Tensor& self = arguments[0].toTensor();
    if (!is_plain(self) || !self.is_cuda()) return nullptr;
    const Knowledge knowledge = knowledge_of(self);
    if (knowledge.known == Known::kNo) {
      note_read(calling_line());
      read_as_fill(self);
    }
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
  note_read(calling_line());
  return std::make_unique<Call>(op,
                                [target](const auto&) { target.fill_(static_cast<std::int64_t>(emulator().fill())); });
}

}  // namespace vramwise::values
