// Collectives of c10d, whose real work the emulated NCCL does between memories that are not there: every rank is taken
// to hold what this one holds, so what is gathered is known where this rank's part is. A sum is left as this rank's
// share.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "values/extension/call.h"
#include "values/extension/notes.h"
#include "values/extension/on_cpu.h"

namespace vramwise::values {
namespace {

using Tensors = std::vector<at::Tensor>;

/// The tensors of a value, of nested lists one after the other.
void collect(const c10::IValue& value, Tensors& all) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) all.push_back(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      if (!element.isTensor() && !element.isList()) return;
      collect(element, all);
    }
  }
}

Tensors tensors_of(const c10::IValue& value) {
  Tensors all;
  collect(value, all);
  return all;
}

bool on_plain_cuda(const Tensors& tensors) {
  return std::all_of(tensors.begin(), tensors.end(),
                     [](const at::Tensor& each) { return is_plain(each) && each.is_cuda(); });
}

std::int64_t number_of(const char* variable, std::int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoll(text, nullptr, 10) : otherwise;
}

/// `part` as often as it fits into `whole`.
void repeat_into(const Operator& op, const at::Tensor& whole, const at::Tensor& part) {
  const std::int64_t size = part.numel();
  if (size == 0 || whole.numel() % size != 0) return set_unknown(whole);
  write(op, whole, part.reshape({1, size}).expand({whole.numel() / size, size}).reshape(whole.sizes()), kMostIntegers);
}

/// The rows that each rank sends to this one are those that this rank sends to itself.
void exchange(const Operator& op, const at::Tensor& output, const at::Tensor& input, Arguments arguments) {
  const auto output_rows = arguments[3].toIntVector();
  const auto input_rows = arguments[4].toIntVector();
  const auto ranks = output_rows.empty() ? number_of("WORLD_SIZE", 1) : static_cast<std::int64_t>(output_rows.size());
  if (ranks < 1 || input.dim() == 0) return set_unknown(output);
  const std::int64_t rank = number_of("RANK", 0) % ranks;
  if (output_rows.empty() && input.size(0) % ranks != 0) return set_unknown(output);
  const at::Tensor mine = input_rows.empty() ? input.chunk(ranks)[static_cast<std::size_t>(rank)]
                                             : input.split_with_sizes(input_rows)[static_cast<std::size_t>(rank)];
  const bool even =
      std::all_of(output_rows.begin(), output_rows.end(), [&](std::int64_t rows) { return rows == mine.size(0); });
  if (!even) return set_unknown(output);  // the ranks do not send alike
  repeat_into(op, output, mine);
}

void gather(const Operator& op, const Tensors& outputs, const Tensors& inputs, Arguments arguments) {
  const std::string name = op.name.substr(op.name.find("::") + 2);
  Tensors known;
  for (const at::Tensor& input : inputs) {
    if (knowledge_of(input).known == Known::kYes && small_enough(input, kMostIntegers)) known.push_back(alias(input));
  }
  if (known.size() != inputs.size() || known.empty()) {
    for (const at::Tensor& output : outputs) set_unknown(output);
    return;
  }
  note_mirrored(op.name);
  if (name == "alltoall_base_") {
    exchange(op, outputs[0], known[0], arguments);
  } else if (name == "alltoall_") {
    const auto mine = static_cast<std::size_t>(number_of("RANK", 0)) % known.size();
    for (const at::Tensor& output : outputs) repeat_into(op, output, known[mine]);
  } else {
    // Lists of lists are by input; those of the coalesced form by rank.
    const bool by_rank = name == "allgather_coalesced_";
    const std::size_t each = outputs.size() / known.size();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      repeat_into(op, outputs[i],
                  known[by_rank ? i % known.size() : std::min(i / std::max<std::size_t>(each, 1), known.size() - 1)]);
    }
  }
}

/// Counts and flags that ranks agree on, as against gradients.
bool holds_small_numbers(const c10::IValue& value) {
  const Tensors tensors = tensors_of(value);
  return on_plain_cuda(tensors) && std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& each) {
           return small_enough(each, 0) && knowledge_of(each).known != Known::kNo;
         });
}

}  // namespace

CallPointer run_collective(const Operator& op, Arguments arguments) {
  const std::string name = op.name.substr(op.name.find("::") + 2);
  if (arguments.empty()) return nullptr;
  // These leave this rank's own data in place.
  const bool reduces = name.starts_with("allreduce") || name == "reduce_";
  if (reduces && holds_small_numbers(arguments[0])) note_mirrored(op.name);
  if (reduces || name == "broadcast_" || name == "send") return nullptr;
  Tensors outputs = tensors_of(arguments[0]);
  if (outputs.empty() || !on_plain_cuda(outputs)) return nullptr;
  const bool gathers = name.find("gather") != std::string::npos || name.starts_with("alltoall");
  Tensors inputs = gathers && arguments.size() > 1 ? tensors_of(arguments[1]) : Tensors();
  if (!on_plain_cuda(inputs)) return nullptr;
  std::vector<c10::IValue> kept(arguments.begin(), arguments.end());
  return std::make_unique<Call>(
      op, [&op, outputs = std::move(outputs), inputs = std::move(inputs), kept = std::move(kept)](const auto&) {
        gather(op, outputs, inputs, Arguments(kept.data(), kept.size()));
      });
}

}  // namespace vramwise::values
