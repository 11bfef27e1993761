// The way in: PyTorch calls us at the start and the end of every operator that goes through its dispatcher
// (at::RecordFunction). No dispatch key is taken, so the order of the program's own allocations stays what it is.
#include <ATen/record_function.h>

#include <algorithm>

#include "values/extension/call.h"
#include "values/extension/emulator_hooks.h"
#include "values/extension/notes.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

void forget(const c10::IValue& value) {
  each_tensor(value, [](const at::Tensor& each) {
    if (is_plain(each) && each.is_cuda()) set_unknown(each);
  });
}

/// Its work is skipped, and so unknown.
CallPointer unknown(const Operator& op, Arguments arguments) {
  for (const std::size_t i : op.written) forget(arguments[i]);
  return nullptr;
}

CallPointer assumed_or_unknown(const Operator& op, Arguments arguments, const Survey& survey) {
  if (CallPointer call = assume(op, arguments, survey)) return call;
  hint_fill(op, arguments);
  return unknown(op, arguments);
}

/// Gradients that are set to zero, say: nobody asks which one value a large tensor of these has.
bool writes_floats(const Operator& op, Arguments arguments) {
  bool floats = false;
  for (const std::size_t i : op.written) {
    each_tensor(arguments[i], [&](const at::Tensor& each) { floats = floats || each.is_floating_point(); });
  }
  return floats;
}

bool to_host(Arguments arguments) { return arguments[0].toTensor().defined() && arguments[0].toTensor().is_cpu(); }

CallPointer start(const Operator& op, Arguments arguments) {
  if (op.special == Special::kCollective) return run_collective(op, arguments);
  if (op.kind == Kind::kForeign) {
    if (anything_known()) {
      for (const std::size_t i : op.written) forget(arguments[i]);
    }
    return nullptr;
  }
  const Survey survey = survey_of(op, arguments);
  if (!survey.plain || !survey.on_cuda) return nullptr;
  if (!survey.all_known && op.special == Special::kNone) return unknown(op, arguments);
  const OnCpu quiet;
  const bool reads = op.special == Special::kScalarRead || (op.special == Special::kCopy && to_host(arguments));
  if (reads) return read_by_host(op, arguments);
  if (!survey.all_known) return assumed_or_unknown(op, arguments, survey);
  // What is too large for true values may still have one value everywhere.
  const bool can_run = affordable(op, survey, arguments);
  if (op.special == Special::kCopy && !can_run) {
    if (CallPointer call = large_from_host(op, arguments)) return call;
  }
  if (op.uniform && (survey.any_uniform || (op.overwrites && !can_run && !writes_floats(op, arguments)))) {
    return run_uniform(op, arguments);
  }
  if (!can_run || (survey.any_uniform && !op.scatters)) return assumed_or_unknown(op, arguments, survey);
  return run_truly(op, arguments, survey);
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& function) {
  if (OnCpu::entered()) return nullptr;
  const Operator* op = operator_of(function);
  if (op == nullptr || op->kind == Kind::kIgnored) return nullptr;
  const auto inputs = function.inputs();
  if (inputs.size() < op->argument_count) return nullptr;
  try {
    return start(*op, inputs.slice(inputs.size() - op->argument_count));
  } catch (const std::exception& error) {
    note_failed(op->name, error.what());
    return nullptr;
  }
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  if (OnCpu::entered()) return;
  auto* call = static_cast<Call*>(context);
  const Operator* op = call != nullptr ? call->op : operator_of(function);
  if (op == nullptr || (call == nullptr && op->kind != Kind::kLeaf)) return;
  try {
    if (call == nullptr) {
      // Its own kernel was skipped, and may have been meant to write what operators inside it had made known.
      if (op->returns_fresh && anything_known())
        std::for_each(function.outputs().begin(), function.outputs().end(), forget);
      return;
    }
    const OnCpu quiet;
    call->finish(function.outputs());
  } catch (const std::exception& error) {
    note_failed(op->name, error.what());
  }
}

/// Runs when the library is loaded, which is after torch and before the program's own work.
const bool kInstalled = [] {
  if (!emulator().complete()) return false;
  at::addGlobalCallback(at::RecordFunctionCallback(on_start, on_end)
                            .needsInputs(true)
                            .needsOutputs(true)
                            .scopes({at::RecordScope::FUNCTION}));
  return true;
}();

}  // namespace
}  // namespace vramwise::values

/// 1: the emulator was found and values are kept; 0: they are not.
extern "C" __attribute__((visibility("default"))) int vramwise_values_active() {
  return vramwise::values::kInstalled ? 1 : 0;
}
