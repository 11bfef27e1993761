// Whether a call's values can be had, and whether they are worth it.
#include <algorithm>

#include "values/extension/call.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

bool is_floating(const at::Tensor& tensor) { return tensor.is_floating_point() || tensor.is_complex(); }

void look_at(Survey& survey, const at::Tensor& tensor, bool is_read) {
  ++survey.tensors;
  if (!is_plain(tensor)) {
    survey.plain = false;
    return;
  }
  const std::int64_t count = tensor.numel();
  survey.elements += count;
  const bool floating = is_floating(tensor);
  if (tensor.is_cuda()) {
    survey.on_cuda = true;
    if (!is_read) return;
    survey.floats_read = survey.floats_read || floating;
    if (!survey.all_known) return;  // no more is asked then
    const Known known = knowledge_of(tensor).known;
    survey.all_known = survey.all_known && known != Known::kNo;
    survey.any_uniform = survey.any_uniform || known == Known::kUniform;
    if (known != Known::kYes) return;
  }
  if (floating) {
    survey.floats += count;
  } else {
    survey.largest_integers = std::max(survey.largest_integers, count);
  }
}

}  // namespace

Survey survey_of(const Operator& op, Arguments arguments) {
  Survey survey;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool is_read = !op.is_written[i] || !(op.out_variant || op.overwrites);
    each_tensor(arguments[i], [&](const at::Tensor& tensor) {
      if (survey.plain) look_at(survey, tensor, is_read);
    });
    if (!survey.plain) return survey;
    if (arguments[i].isDevice()) survey.on_cuda = survey.on_cuda || arguments[i].toDevice().is_cuda();
  }
  return survey;
}

bool small_enough(const at::Tensor& result, std::int64_t largest_integers) {
  const std::int64_t most = is_floating(result) ? kMostFloats : std::clamp(largest_integers, kMostGrown, kMostIntegers);
  return result.numel() <= most;
}

bool affordable(const Operator& op, const Survey& survey, Arguments arguments) {
  if (survey.tensors > kMostTensors || survey.floats > kMostFloats || survey.largest_integers > kMostIntegers)
    return false;
  if (op.heavy && survey.elements > kMostHeavy) return false;
  if (op.random && op.generator < 0) return false;  // would draw from the program's own generator
  constexpr int kMostFailures = 8;
  if (op.failures.load(std::memory_order_relaxed) >= kMostFailures) return false;
  bool fits = true;
  const std::int64_t largest = op.scatters ? kMostIntegers : survey.largest_integers;
  for (const std::size_t i : op.written) {
    each_tensor(arguments[i], [&](const at::Tensor& tensor) { fits = fits && small_enough(tensor, largest); });
  }
  return fits;
}

}  // namespace vramwise::values
