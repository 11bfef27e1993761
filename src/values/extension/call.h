// One call of an operator between its start and its end, and what the values side does with it.
#pragma once

#include <ATen/record_function.h>

#include <functional>
#include <memory>
#include <vector>

#include "values/extension/operators.h"
#include "values/extension/truth.h"

namespace vramwise::values {

// Limits, in elements. They bound cost: what decides an allocation is small.
/// Integers and truth values that an operator makes out of smaller ones: masks of (batch, sequence), not those of
/// (sequence, sequence).
constexpr std::int64_t kMostGrown = 1 << 20;
/// … and out of inputs that are as large themselves: one_hot of 128 experts, and what is summed and selected of it.
constexpr std::int64_t kMostIntegers = 1 << 24;
/// Floating-point numbers, all tensors of a call together: scales, thresholds, frequencies, a mask's random numbers.
constexpr std::int64_t kMostFloats = 1 << 16;
/// All tensors of a matrix product, a convolution, …
constexpr std::int64_t kMostHeavy = 1 << 12;
/// Tensors in the lists of one call.
constexpr std::int64_t kMostTensors = 1 << 12;

/// Valid during the start of a call only.
using Arguments = c10::ArrayRef<const c10::IValue>;

/// What the arguments of a call are.
struct Survey {
  bool plain = true;         ///< no tensor of a kind that is not plain memory
  bool on_cuda = false;      ///< some tensor, or the device that is asked for, is a CUDA one
  bool all_known = true;     ///< of the CUDA tensors that it reads
  bool any_uniform = false;  ///< of those
  bool floats_read = false;  ///< it reads a floating-point CUDA tensor
  std::int64_t tensors = 0;
  std::int64_t elements = 0;
  std::int64_t floats = 0;            ///< elements of known floating-point tensors
  std::int64_t largest_integers = 0;  ///< elements of the largest known tensor of other types
};
Survey survey_of(const Operator& op, Arguments arguments);

/// Whether the call, all of whose inputs are known, may be run on the CPU.
bool affordable(const Operator& op, const Survey& survey, Arguments arguments);
/// Whether a result may be kept in host memory.
bool small_enough(const at::Tensor& result, std::int64_t largest_integers);

/// Kept from the start to the end of a call that something is to be done about.
struct Call : at::ObserverContext {
  using Finish = std::function<void(const std::vector<c10::IValue>& outputs)>;
  const Operator* op;
  Finish finish;

  Call(const Operator& of, Finish then) : op(&of), finish(std::move(then)) {}
};
using CallPointer = std::unique_ptr<Call>;

/// The bytes of `device` become `values`, and known; unknown where the shapes differ or it is too large.
void write(const Operator& op, const at::Tensor& device, const at::Tensor& values, std::int64_t largest_integers);
/// Every element of `device` becomes `value`.
void write_uniform(const at::Tensor& device, const c10::Scalar& value);

/// All inputs are true: the operator is run on the CPU, now or when the call ends.
CallPointer run_truly(const Operator& op, Arguments arguments, const Survey& survey);
/// As run_truly where some inputs are uniform: on one element.
CallPointer run_uniform(const Operator& op, Arguments arguments);
/// Some inputs are unknown, but an assumption is better than that; null: there is none for this call.
CallPointer assume(const Operator& op, Arguments arguments, const Survey& survey);

/// A collective of c10d.
CallPointer run_collective(const Operator& op, Arguments arguments);

/// What the device's own kernel is about to read, so that it takes the memory it would take: from true inputs …
void hint_result(const Operator& op, Arguments arguments, const std::vector<c10::IValue>& results);
/// … or as if unknown memory held the fill.
void hint_fill(const Operator& op, Arguments arguments);

/// A copy from the host that is too large to be done here: true where the emulator did it. Null: it is none.
CallPointer large_from_host(const Operator& op, Arguments arguments);

/// Values that come to the host from unknown memory are the fill, not what some earlier tensor left there.
CallPointer read_by_host(const Operator& op, Arguments arguments);

}  // namespace vramwise::values
