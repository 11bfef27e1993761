// Nodes: their memory, what they save, and the order in which a graph is taken down.

#include "tape/node.h"

#include <algorithm>

#include "tape/record.h"
#include "tape/tape.h"

namespace vramwise::tape {
namespace {

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

struct Counts {
  std::size_t edges = 0;
  std::size_t inputs = 0;
  std::size_t saved = 0;
  std::size_t numbers = 0;
  std::size_t captured_bytes = 0;
};

Node* allocate_node(Tape& tape, const Counts& counts) {
  const std::size_t at_edges = aligned(sizeof(Node));
  const std::size_t at_inputs = at_edges + aligned(counts.edges * sizeof(Edge));
  const std::size_t at_arrived = at_inputs + aligned(counts.inputs * sizeof(GradientShape));
  const std::size_t at_saved = at_arrived + counts.inputs * sizeof(TensorData*);
  const std::size_t at_numbers = at_saved + counts.saved * sizeof(TensorData*);
  const std::size_t at_packed = at_numbers + counts.numbers * sizeof(std::int64_t);
  const std::size_t at_captured = aligned(at_packed + counts.saved * sizeof(std::uint32_t));
  const std::size_t total = at_captured + counts.captured_bytes;
  auto* memory = static_cast<std::byte*>(tape.pool().take(total));
  auto* node = new (memory) Node{};
  node->tape = &tape;
  node->edge_count = static_cast<std::uint16_t>(counts.edges);
  node->input_count = static_cast<std::uint16_t>(counts.inputs);
  node->saved_count = static_cast<std::uint16_t>(counts.saved);
  node->edges = reinterpret_cast<Edge*>(memory + at_edges);
  node->inputs = reinterpret_cast<GradientShape*>(memory + at_inputs);
  node->arrived = reinterpret_cast<TensorData**>(memory + at_arrived);
  node->saved = reinterpret_cast<TensorData**>(memory + at_saved);
  node->numbers = reinterpret_cast<std::int64_t*>(memory + at_numbers);
  node->packed = reinterpret_cast<std::uint32_t*>(memory + at_packed);
  node->captured = memory + at_captured;
  node->total_bytes = static_cast<std::uint32_t>(total);
  std::fill_n(node->arrived, counts.inputs, nullptr);
  return node;
}

// AccumulateGrad of a leaf, made when it is first used and shared while anything refers to it.
Node* accumulator_of(TensorData* leaf) {
  if (leaf->accumulator != nullptr) return leaf->accumulator;
  Node* node = allocate_node(*leaf->tape, {.inputs = 1});
  node->sequence = Node::kLast;
  node->leaf = leaf;
  ++leaf->references;
  new (&node->inputs[0]) GradientShape{leaf->sizes, leaf->type};
  leaf->accumulator = node;
  return node;
}

using TensorList = std::span<const Tensor* const>;

bool is_one_of(const Tensor& tensor, TensorList list) {
  for (const Tensor* other : list) {
    if (other != nullptr && other->get() == tensor.get()) return true;
  }
  return false;
}

// A saved result must not hold its own node: it is kept without its history.
TensorData* saved_reference(Tape& tape, const Tensor& tensor, TensorList outputs) {
  if (is_one_of(tensor, outputs)) {
    Tensor detached = tape.alias(tensor, tensor.sizes(), tensor.strides(), tensor->offset);
    return detached.release();
  }
  return Tensor(tensor).release();
}

constexpr std::uint32_t kNothing = ~std::uint32_t{0};

void save(Node* node, const internal::NodeParts& parts) {
  Tape& tape = *node->tape;
  int i = 0;
  for (const Tensor* tensor : parts.saved) {
    const bool is_there = tensor != nullptr && tensor->defined();
    node->saved[i] = nullptr;
    node->packed[i] = parts.packed != nullptr ? parts.packed[i] : kNothing;
    if (node->packed[i] != kNothing) node->hooks = tape.saved_hooks();
    if (is_there && parts.packed == nullptr) node->saved[i] = saved_reference(tape, *tensor, parts.outputs);
    ++i;
  }
  if (node->hooks != nullptr) ++node->hooks->references;
}

void take_down(Node* node) {
  node->release_saved();
  for (int i = 0; i < node->input_count; ++i) Tensor::adopt(std::exchange(node->arrived[i], nullptr)).reset();
  if (node->leaf != nullptr) {
    node->leaf->accumulator = nullptr;
    Tensor::adopt(std::exchange(node->leaf, nullptr)).reset();
  }
  if (node->held != nullptr) Tensor::adopt(std::exchange(node->held, nullptr)).reset();
}

}  // namespace

Edge gradient_edge(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  TensorData* data = tensor.get();
  Node* node = data->grad_fn;
  if (node == nullptr && data->requires_grad) node = accumulator_of(data);
  if (node == nullptr) return {};
  Node::share(node);
  return {.node = node, .slot = data->grad_fn != nullptr ? data->output_number : 0U};
}

bool wants_grad(const Tape& tape, TensorList inputs) {
  if (!tape.grad_enabled()) return false;
  for (const Tensor* input : inputs) {
    if (input != nullptr && input->defined() && input->requires_grad()) return true;
  }
  return false;
}

std::vector<const Tensor*> internal::pointers_to(const std::vector<Tensor>& tensors) {
  std::vector<const Tensor*> pointers;
  pointers.reserve(tensors.size());
  for (const Tensor& tensor : tensors) pointers.push_back(&tensor);
  return pointers;
}

bool internal::pack_saved(Tape& tape, TensorList saved, std::uint32_t* packed) {
  SavedHooks* hooks = tape.saved_hooks();
  if (hooks == nullptr) return false;
  VRAMWISE_CHECK(saved.size() <= kMostPacked);
  for (const Tensor* tensor : saved) {
    *packed++ = tensor != nullptr && tensor->defined() ? hooks->pack(*tensor) : kNothing;
  }
  return true;
}

Node* internal::make_node(Tape& tape, const NodeParts& given) {
  NodeParts parts = given;
  std::uint32_t packed[kMostPacked];
  if (parts.packed == nullptr && pack_saved(tape, parts.saved, packed)) parts.packed = packed;
  Node* node = allocate_node(tape, {.edges = parts.inputs.size(),
                                    .inputs = parts.outputs.size(),
                                    .saved = parts.saved.size(),
                                    .numbers = parts.numbers.size(),
                                    .captured_bytes = parts.captured_bytes});
  node->sequence = tape.next_sequence();
  node->function = parts.function;
  std::copy(parts.numbers.begin(), parts.numbers.end(), node->numbers);
  int i = 0;
  for (const Tensor* input : parts.inputs)
    new (&node->edges[i++]) Edge(input == nullptr ? Edge{} : gradient_edge(*input));
  save(node, parts);
  std::uint16_t number = 0;
  for (const Tensor* output : parts.outputs) {
    if (output != nullptr && output->defined()) {
      new (&node->inputs[number]) GradientShape{output->sizes(), output->type()};
      Node* old = std::exchange((*output)->grad_fn, node);
      (*output)->output_number = number;
      ++node->references;
      if (old != nullptr) Node::drop(old);  // an op in place: the history is the node's edge now
    }
    ++number;
  }
  return node;
}

Tensor internal::unpack_saved(const Node& node, int i) {
  return node.packed[i] == kNothing ? Tensor() : node.hooks->unpack(node.packed[i]);
}

void hold(const Tensor& result, const Tensor& tensor) {
  if (result->grad_fn == nullptr) return;
  Tensor kept = tensor;
  result->grad_fn->held = kept.release();
}

void Node::release_saved() {
  if (released) return;
  released = true;
  for (int i = 0; i < saved_count; ++i) {
    if (hooks != nullptr) {
      if (packed[i] != kNothing) hooks->forget(packed[i]);
    } else {
      Tensor::adopt(std::exchange(saved[i], nullptr)).reset();
    }
  }
  if (hooks != nullptr && --hooks->references == 0) delete hooks;
  hooks = nullptr;
}

// Nodes that lose their last reference go one by one from a list of their own (deleteNode in autograd/function.cpp): a
// chain of thousands must not become as many nested calls.
void Node::destroy(Node* node) {
  std::vector<Node*> doomed = {node};
  while (!doomed.empty()) {
    Node* next = doomed.back();
    doomed.pop_back();
    take_down(next);
    for (int i = 0; i < next->edge_count; ++i) {
      Node* target = next->edges[i].node;
      if (target != nullptr && --target->references == 0) doomed.push_back(target);
    }
    next->tape->pool().give(next, next->total_bytes);
  }
}

}  // namespace vramwise::tape
