// Running an operator on the CPU, on the bytes of emulated device memory, unseen by the program.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/Exception.h>

#include <functional>
#include <vector>

#include "values/extension/operators.h"

namespace vramwise::values {

/// While it lives, this thread's operators run without autograd, modes, autocast, recording and warnings, so nothing of
/// the program notices them. False from `entered`: it was already so, and what is called now is our own work.
class OnCpu {
 public:
  OnCpu();
  ~OnCpu();
  OnCpu(const OnCpu&) = delete;
  OnCpu& operator=(const OnCpu&) = delete;

  static bool entered();

 private:
  struct Quiet : c10::WarningHandler {
    void process(const c10::Warning&) override {}
  };
  at::RecordFunctionGuard recording_{false};
  c10::impl::ForceDispatchKeyGuard keys_;
  Quiet quiet_;
  c10::WarningUtils::WarningHandlerGuard warnings_{&quiet_};
};

/// Whether `tensor` is plain memory: no subclass, wrapper, sparse, quantized or lazily negated tensor.
bool is_plain(const at::Tensor& tensor);

/// A CPU tensor over the bytes of `tensor`, which is plain and not on the CPU. Needs OnCpu.
at::Tensor alias(const at::Tensor& tensor);
/// Makes the bytes of `tensor` readable and writable by the host. False: the emulator's budget of host memory is used
/// up.
bool open_to_host(const at::Tensor& tensor);

/// Calls `visit` for each defined tensor in a value: a tensor, a list, a list of optional ones.
template <typename Visit>
void each_tensor(const c10::IValue& value, Visit&& visit) {
  if (value.isTensor()) {
    if (const at::Tensor& tensor = value.toTensor(); tensor.defined()) visit(tensor);
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      if (element.isNone()) continue;
      if (!element.isTensor()) return;
      if (const at::Tensor& tensor = element.toTensor(); tensor.defined()) visit(tensor);
    }
  }
}

/// How an argument's tensor stands on the CPU.
using Substitute = std::function<at::Tensor(const at::Tensor& device_tensor, std::size_t argument)>;

/// The arguments with their CUDA tensors substituted, the device and the generator made the CPU's.
torch::jit::Stack cpu_arguments(const Operator& op, c10::ArrayRef<const c10::IValue> arguments,
                                const Substitute& substitute);

/// Runs the CPU kernel; the results take the place of the arguments. Throws what the kernel throws. Needs OnCpu.
void run_on_cpu(const Operator& op, torch::jit::Stack& stack);

}  // namespace vramwise::values
