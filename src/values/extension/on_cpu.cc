// The CPU kernel is called past everything that stands above it in PyTorch's dispatcher. Random operators draw from a
// generator of ours, so the program's own random numbers on the CPU stay what they would have been.
#include "values/extension/on_cpu.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/DispatchKeySet.h>

#include "values/extension/emulator_hooks.h"

namespace vramwise::values {
namespace {

thread_local int depth = 0;

constexpr c10::DispatchKeySet strange_keys() {
  using K = c10::DispatchKey;
  return c10::DispatchKeySet({K::Python, K::PythonTLSSnapshot, K::FuncTorchBatched, K::FuncTorchGradWrapper,
                              K::FuncTorchVmapMode, K::Functionalize, K::Conjugate, K::Negative, K::ZeroTensor,
                              K::NestedTensor, K::Sparse, K::SparseCsr, K::Quantized});
}

const c10::DispatchKeySet& functionality_of_strange() {
  static const c10::DispatchKeySet kKeys = strange_keys();
  return kKeys;
}

c10::DispatchKeySet quiet_exclusions() {
  return c10::default_excluded_set | c10::autograd_dispatch_keyset_with_ADInplaceOrView |
         c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::PythonTLSSnapshot});
}

/// Seeded alike in every run: the same program draws the same numbers.
const at::Generator& generator() {
  static const at::Generator kInstance = at::detail::createCPUGenerator(/*seed_val=*/0x5eed);
  return kInstance;
}

c10::IValue substituted(const c10::IValue& value, std::size_t argument, const Substitute& substitute) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    return tensor.defined() && tensor.is_cuda() ? c10::IValue(substitute(tensor, argument)) : value;
  }
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) {
      list.push_back(tensor.defined() && tensor.is_cuda() ? substitute(tensor, argument) : tensor);
    }
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const c10::IValue& element : value.toListRef()) {
      if (!element.isTensor()) {
        list.push_back(std::nullopt);
        continue;
      }
      const at::Tensor& tensor = element.toTensor();
      list.push_back(tensor.defined() && tensor.is_cuda() ? substitute(tensor, argument) : tensor);
    }
    return list;
  }
  if (value.isDevice()) return c10::Device(c10::DeviceType::CPU);
  return value;
}

}  // namespace

OnCpu::OnCpu() : keys_(c10::DispatchKeySet(c10::DispatchKey::BackendSelect), quiet_exclusions()) { ++depth; }
OnCpu::~OnCpu() { --depth; }
bool OnCpu::entered() { return depth > 0; }

bool is_plain(const at::Tensor& tensor) {
  return (tensor.key_set() & functionality_of_strange()).empty() && tensor.layout() == c10::kStrided &&
         (tensor.is_cuda() || tensor.is_cpu());
}

at::Tensor alias(const at::Tensor& tensor) {
  const auto options = at::TensorOptions().dtype(tensor.dtype()).device(c10::kCPU);
  if (tensor.numel() == 0) return at::empty(tensor.sizes(), options);
  return at::from_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(), options);
}

bool open_to_host(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return true;
  std::int64_t last = 0;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  const auto bytes = static_cast<std::size_t>(last + 1) * tensor.itemsize();
  return emulator().host_access(const_cast<void*>(tensor.const_data_ptr()), bytes) == 0;
}

torch::jit::Stack cpu_arguments(const Operator& op, c10::ArrayRef<const c10::IValue> arguments,
                                const Substitute& substitute) {
  torch::jit::Stack stack;
  stack.reserve(arguments.size());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (static_cast<int>(i) == op.generator) {
      stack.emplace_back(generator());
    } else {
      stack.push_back(substituted(arguments[i], i, substitute));
    }
  }
  return stack;
}

void run_on_cpu(const Operator& op, torch::jit::Stack& stack) {
  op.handle.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
}

}  // namespace vramwise::values
