// record(): how an op enters the autograd graph: which inputs get gradients, what is saved, and the backward formula.
//
//   Tensor out = tape.empty(…);
//   return record(out, {&x}, {&x}, [](Backward& b) { b.give(0, silu_backward(b.grad(), b.saved(0))); });
//
// What the formula captures must be plain numbers (Dims, scalars): tensors go through the list of saved ones. Formulas
// give their results in the order in which PyTorch's generated code computes them, by the names of the inputs in
// derivatives.yaml; saved tensors stand in the order in which it releases them: inputs by name, then outputs.
#pragma once

#include <exception>
#include <initializer_list>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "tape/node.h"
#include "tape/tape.h"

namespace vramwise::tape {

/// What a backward formula sees.
class Backward {
 public:
  /// `unpacked`: all saved tensors, where hooks brought them back; otherwise null.
  Backward(Node& node, Tensor* grads, Tensor* results, const Tensor* unpacked)
      : node_(node), grads_(grads), results_(results), unpacked_(unpacked) {}

  Tape& tape() const { return *node_.tape; }
  /// The gradient of the forward op's i-th result; undefined where nothing came.
  const Tensor& grad(int i = 0) const { return grads_[i]; }
  Tensor take_grad(int i = 0) { return std::move(grads_[i]); }
  int grad_count() const { return node_.input_count; }
  /// Whether the i-th input wants a gradient.
  bool needs(int i) const { return node_.edges[i].node != nullptr; }
  Tensor saved(int i) const { return unpacked_ != nullptr ? unpacked_[i] : Tensor::share(node_.saved[i]); }
  void give(int i, Tensor gradient) { results_[i] = std::move(gradient); }
  int input_count() const { return node_.edge_count; }
  /// The numbers that came with a list of tensors.
  std::int64_t number(int i) const { return node_.numbers[i]; }

 private:
  Node& node_;
  Tensor* grads_;
  Tensor* results_;
  const Tensor* unpacked_;
};

/// Leaves a block that is being recomputed, once the last tensor that it saves is there.
struct StopRecomputation : std::exception {};

/// Replaces what autograd saves (torch.autograd.graph.saved_tensors_hooks).
class SavedHooks {
 public:
  virtual ~SavedHooks() = default;
  /// Takes note of a tensor to be saved; the number brings it back. May throw StopRecomputation.
  virtual std::uint32_t pack(const Tensor& tensor) = 0;
  virtual Tensor unpack(std::uint32_t number) = 0;
  /// The node that saved it needs it no longer.
  virtual void forget(std::uint32_t number) = 0;
  /// Whether what hangs on the thread (at::ThreadLocalState) keeps what these hooks know.
  virtual bool is_kept_by_thread_state() const { return false; }

  std::uint32_t references = 0;
};

using Tensors = std::initializer_list<const Tensor*>;

/// Whether an op on these inputs becomes part of the graph.
bool wants_grad(const Tape& tape, std::span<const Tensor* const> inputs);
inline bool wants_grad(const Tape& tape, Tensors inputs) {
  return wants_grad(tape, std::span(inputs.begin(), inputs.size()));
}

namespace internal {
inline constexpr int kMostPacked = 8;

struct NodeParts {
  std::span<const Tensor* const> outputs;
  std::span<const Tensor* const> inputs;
  std::span<const Tensor* const> saved;
  std::span<const std::int64_t> numbers;
  std::size_t captured_bytes;
  BackwardFunction function;
  const std::uint32_t* packed = nullptr;  ///< the saved tensors' numbers, where hooks have taken them already
};
/// Hands `saved` to the tape's hooks; false where there are none.
bool pack_saved(Tape& tape, std::span<const Tensor* const> saved, std::uint32_t* packed);
/// Brings back a saved tensor of a node that has hooks; the first one of a checkpointed block recomputes it.
Tensor unpack_saved(const Node& node, int i);
/// A node whose results are `outputs`. An input that is also an output was changed in place.
Node* make_node(Tape& tape, const NodeParts& given);

template <typename Formula>
void record(Tape& tape, NodeParts parts, Formula formula) {
  static_assert(std::is_trivially_copyable_v<Formula> && std::is_trivially_destructible_v<Formula>);
  parts.captured_bytes = sizeof(Formula);
  parts.function = [](Backward& pass, const std::byte* captured) {
    (*std::launder(reinterpret_cast<const Formula*>(captured)))(pass);
  };
  Node* node = make_node(tape, parts);
  new (node->captured) Formula(formula);
}

constexpr std::span<const Tensor* const> as_span(Tensors list) { return {list.begin(), list.size()}; }
std::vector<const Tensor*> pointers_to(const std::vector<Tensor>& tensors);
}  // namespace internal

/// Records an op with several results; undefined ones and null pointers get no gradient.
template <typename Formula>
void record_all(Tape& tape, Tensors outputs, Tensors inputs, Tensors saved, Formula formula) {
  if (!wants_grad(tape, inputs)) return;
  using internal::as_span;
  internal::record(tape, {as_span(outputs), as_span(inputs), as_span(saved), {}, 0, nullptr, nullptr}, formula);
}

template <typename Formula>
Tensor record(Tensor out, Tensors inputs, Tensors saved, Formula formula) {
  record_all(out.tape(), {&out}, inputs, saved, formula);
  return out;
}

/// An op that saves inputs only, and does so before its kernel runs (`make`), as PyTorch does: a block that is
/// recomputed stops there, without the kernel.
template <typename Make, typename Formula>
Tensor record_first(Tape& tape, Tensors inputs, Tensors saved, Make make, Formula formula) {
  if (!wants_grad(tape, inputs)) return make();
  using internal::as_span;
  std::uint32_t packed[internal::kMostPacked];
  const bool is_packed = internal::pack_saved(tape, as_span(saved), packed);
  Tensor out = make();
  internal::NodeParts parts{.outputs = {},
                            .inputs = as_span(inputs),
                            .saved = as_span(saved),
                            .numbers = {},
                            .captured_bytes = 0,
                            .function = nullptr,
                            .packed = is_packed ? packed : nullptr};
  const Tensor* const outputs[] = {&out};
  parts.outputs = outputs;
  internal::record(tape, parts, formula);
  return out;
}

/// An op with a list of results.
template <typename Formula>
void record_outputs(const std::vector<Tensor>& outputs, const Tensor& input, std::span<const std::int64_t> numbers,
                    Formula formula) {
  Tape& tape = input.tape();
  if (!wants_grad(tape, {&input})) return;
  const std::vector<const Tensor*> results = internal::pointers_to(outputs);
  const Tensor* const inputs[] = {&input};
  internal::record(tape, {results, inputs, {}, numbers, 0, nullptr, nullptr}, formula);
}

/// An op from one list to another, of which all want gradients.
template <typename Formula>
void record_lists(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs, Formula formula) {
  const std::vector<const Tensor*> results = internal::pointers_to(outputs);
  const std::vector<const Tensor*> operands = internal::pointers_to(inputs);
  internal::record(outputs.front().tape(), {results, operands, {}, {}, 0, nullptr, nullptr}, formula);
}

/// An op on a list of inputs.
template <typename Formula>
Tensor record_inputs(Tensor out, const std::vector<Tensor>& inputs, std::span<const std::int64_t> numbers,
                     Formula formula) {
  const std::vector<const Tensor*> operands = internal::pointers_to(inputs);
  Tape& tape = out.tape();
  if (!wants_grad(tape, operands)) return out;
  const Tensor* const outputs[] = {&out};
  internal::record(tape, {outputs, operands, {}, numbers, 0, nullptr, nullptr}, formula);
  return out;
}

}  // namespace vramwise::tape
