// Running a call on the CPU. What an operator changes in place is computed at its start, on copies, since its CUDA
// kernel may call other operators on the way; what it returns is computed at its end, when the true shape of the result
// is there. Only what decides the shape itself (nonzero) is computed before.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <utility>

#include "values/extension/call.h"
#include "values/extension/emulator_hooks.h"
#include "values/extension/notes.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

std::vector<c10::IValue> arguments_kept(Arguments arguments) {
  return std::vector<c10::IValue>(arguments.begin(), arguments.end());
}

bool decides_shape(const Operator& op) {
  return op.special == Special::kNonzero || op.special == Special::kUnique || op.special == Special::kEqual;
}

void failed(const Operator& op, const std::exception& error) {
  op.failures.fetch_add(1, std::memory_order_relaxed);
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  note_failed(op.name, torch_error != nullptr ? torch_error->what_without_backtrace() : error.what());
}

void forget_written(const Operator& op, Arguments arguments) {
  for (const std::size_t i : op.written) each_tensor(arguments[i], [](const at::Tensor& each) { set_unknown(each); });
}

/// The CPU's histc takes floating-point numbers only; the device's takes integers too.
void adapt_histogram(const Operator& op, torch::jit::Stack& stack) {
  const at::Tensor self = stack[0].toTensor();
  if (self.is_floating_point()) return run_on_cpu(op, stack);
  stack[0] = self.to(c10::kDouble);
  run_on_cpu(op, stack);
  stack[0] = stack[0].toTensor().to(self.scalar_type());
}

void run_kernel(const Operator& op, torch::jit::Stack& stack) {
  if (op.special == Special::kHistogram && !op.out_variant) {
    adapt_histogram(op, stack);
  } else {
    run_on_cpu(op, stack);
  }
  note_run(op.name);
  if (op.random) note_random(op.name);
}

/// The results of the CPU, for each tensor of the device's.
void write_all(const Operator& op, const std::vector<c10::IValue>& outputs, const torch::jit::Stack& results,
               std::int64_t largest_integers) {
  for (std::size_t i = 0; i < outputs.size() && i < results.size(); ++i) {
    std::vector<at::Tensor> computed;
    each_tensor(results[i], [&](const at::Tensor& each) { computed.push_back(each); });
    std::size_t next = 0;
    each_tensor(outputs[i], [&](const at::Tensor& device) {
      if (next < computed.size()) write(op, device, computed[next++], largest_integers);
    });
  }
}

/// Into the device's own bytes: what is written need not be read before.
CallPointer run_at_end_in_place(const Operator& op, Arguments arguments, const Survey& survey) {
  const std::int64_t largest = op.scatters ? kMostIntegers : survey.largest_integers;
  return std::make_unique<Call>(op, [&op, largest, kept = arguments_kept(arguments)](const auto&) {
    const Arguments arguments(kept.data(), kept.size());
    bool open = true;
    for (const std::size_t i : op.written) {
      each_tensor(arguments[i], [&](const at::Tensor& each) {
        open = open && (!each.is_cuda() || (small_enough(each, largest) && open_to_host(each)));
      });
    }
    if (!open) return forget_written(op, arguments);
    try {
      auto stack = cpu_arguments(op, arguments, [](const at::Tensor& each, std::size_t) { return alias(each); });
      run_kernel(op, stack);
    } catch (const std::exception& error) {
      failed(op, error);
      return forget_written(op, arguments);
    }
    for (const std::size_t i : op.written) {
      each_tensor(arguments[i], [](const at::Tensor& each) {
        if (each.is_cuda()) set_known(each);
      });
    }
  });
}

/// On copies now; into the device's bytes at the end.
CallPointer run_now_in_place(const Operator& op, Arguments arguments, const Survey& survey) {
  std::vector<std::pair<at::Tensor, at::Tensor>> changed;  // the device's, ours
  torch::jit::Stack results;
  try {
    results = cpu_arguments(op, arguments, [&](const at::Tensor& each, std::size_t argument) {
      if (!op.is_written[argument]) return alias(each);
      const Knowledge knowledge = knowledge_of(each);
      at::Tensor copy = knowledge.known == Known::kUniform
                            ? at::full(each.sizes(), knowledge.value, at::TensorOptions().dtype(each.dtype()))
                            : alias(each).clone();
      changed.emplace_back(each, copy);
      return copy;
    });
    run_kernel(op, results);
  } catch (const std::exception& error) {
    failed(op, error);
    forget_written(op, arguments);
    return nullptr;
  }
  const std::int64_t largest = op.scatters ? kMostIntegers : survey.largest_integers;
  return std::make_unique<Call>(
      op, [&op, largest, results = std::move(results), changed = std::move(changed)](const auto& outputs) {
        for (const auto& [device, ours] : changed) write(op, device, ours, largest);
        if (op.returns_fresh) write_all(op, outputs, results, largest);
      });
}

CallPointer run_at_end(const Operator& op, Arguments arguments, const Survey& survey) {
  const std::int64_t largest = op.scatters ? kMostIntegers : survey.largest_integers;
  return std::make_unique<Call>(op, [&op, largest, kept = arguments_kept(arguments)](const auto& outputs) {
    const Arguments arguments(kept.data(), kept.size());
    bool small = true;
    for (const auto& output : outputs) {
      each_tensor(output, [&](const at::Tensor& each) {
        small = small && is_plain(each) && small_enough(each, largest);
        if (is_plain(each)) set_unknown(each);
      });
    }
    if (!small) return;
    try {
      auto results = cpu_arguments(op, arguments, [](const at::Tensor& each, std::size_t) { return alias(each); });
      run_kernel(op, results);
      write_all(op, outputs, results, largest);
    } catch (const std::exception& error) {
      failed(op, error);
    }
  });
}

CallPointer run_now(const Operator& op, Arguments arguments, const Survey& survey) {
  torch::jit::Stack results;
  try {
    results = cpu_arguments(op, arguments, [](const at::Tensor& each, std::size_t) { return alias(each); });
    run_kernel(op, results);
  } catch (const std::exception& error) {
    failed(op, error);
    return nullptr;
  }
  hint_result(op, arguments, results);
  const std::int64_t largest = survey.largest_integers;
  return std::make_unique<Call>(op, [&op, largest, results = std::move(results)](const auto& outputs) {
    emulator().next_read(nullptr, 0);
    write_all(op, outputs, results, largest);
  });
}

}  // namespace

void write(const Operator& op, const at::Tensor& device, const at::Tensor& values, std::int64_t largest_integers) {
  if (!is_plain(device) || !device.is_cuda()) return;
  if (device.sizes() != values.sizes()) {
    if (device.numel() == 0) return;  // a result that was not asked for
    set_unknown(device);
    return note_failed(op.name, "another shape than the device's");
  }
  if (!small_enough(device, largest_integers) || !open_to_host(device)) return set_unknown(device);
  alias(device).copy_(values);
  set_known(device);
}

void write_uniform(const at::Tensor& device, const c10::Scalar& value) {
  if (!is_plain(device) || !device.is_cuda()) return;
  if (small_enough(device, 0) && open_to_host(device)) {
    alias(device).fill_(value);
    set_known(device);
  } else {
    set_uniform(device, value);
  }
}

CallPointer run_truly(const Operator& op, Arguments arguments, const Survey& survey) {
  if (!op.written.empty() && (op.out_variant || op.overwrites)) {
    return run_at_end_in_place(op, arguments, survey);
  }
  if (!op.written.empty()) return run_now_in_place(op, arguments, survey);
  return decides_shape(op) ? run_now(op, arguments, survey) : run_at_end(op, arguments, survey);
}

CallPointer run_uniform(const Operator& op, Arguments arguments) {
  std::vector<at::Tensor> changed;
  torch::jit::Stack results;
  bool single = true;
  try {
    std::vector<at::Tensor> copies;
    results = cpu_arguments(op, arguments, [&](const at::Tensor& each, std::size_t argument) {
      const Knowledge knowledge = knowledge_of(each);
      at::Tensor one;
      if (op.is_written[argument] && op.overwrites) {
        one = at::empty(std::vector<std::int64_t>(static_cast<std::size_t>(each.dim()), 1),
                        at::TensorOptions().dtype(each.dtype()));
      } else if (knowledge.known == Known::kUniform) {
        one = at::full(std::vector<std::int64_t>(static_cast<std::size_t>(each.dim()), 1), knowledge.value,
                       at::TensorOptions().dtype(each.dtype()));
      } else {
        single = single && each.numel() == 1;
        one = alias(each);
      }
      if (op.is_written[argument]) {
        changed.push_back(each);
        copies.push_back(one);
      }
      return one;
    });
    for (const c10::IValue& argument : arguments) {
      each_tensor(argument, [&](const at::Tensor& each) { single = single && (each.is_cuda() || each.numel() == 1); });
    }
    if (!single) {
      forget_written(op, arguments);
      return nullptr;
    }
    run_kernel(op, results);
    if (!op.written.empty()) results.assign(copies.begin(), copies.end());
  } catch (const std::exception& error) {
    failed(op, error);
    forget_written(op, arguments);
    return nullptr;
  }
  return std::make_unique<Call>(op, [results = std::move(results), changed = std::move(changed)](const auto& outputs) {
    const auto put = [](const at::Tensor& device, const c10::IValue& result) {
      if (result.isTensor() && result.toTensor().numel() == 1) write_uniform(device, result.toTensor().item());
    };
    for (std::size_t i = 0; i < changed.size(); ++i) put(changed[i], results[i]);
    if (!changed.empty()) return;
    for (std::size_t i = 0; i < outputs.size() && i < results.size(); ++i) {
      each_tensor(outputs[i], [&](const at::Tensor& device) { put(device, results[i]); });
    }
  });
}

}  // namespace vramwise::values
