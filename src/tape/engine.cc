// The engine: a heap of ready nodes, the newest op first and accumulators before all; gradients that meet at a node are
// summed in its input buffer; what a node saved is released once it ran.
//
// As torch/csrc/autograd/engine.cpp (evaluate_function, call_function, validate_outputs), input_buffer.cpp and
// functions/accumulate_grad.h of PyTorch 2.14 have it.

#include "tape/engine.h"

#include <algorithm>
#include <vector>

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/tape.h"

namespace vramwise::tape {
namespace {

bool runs_later(const Node* a, const Node* b) { return a->sequence < b->sequence; }

// A buffer's tensor may take the sum in place when nobody else can see its memory.
bool may_be_added_to(const Tensor& tensor) {
  return tensor.is_only_user_of_storage() && is_dense(tensor.sizes(), tensor.strides());
}

// DTensors are added out of place, and of one that is Replicate the part is copied first.
Tensor sum_of_parts(const Tensor& part, const Tensor& whole) {
  const Tensor copy = part.tape().empty(part.sizes(), whole.type());
  return add(part, copy);
}

// Moves the first gradient into the buffer. A further one is added, and stays its owner's until that one lets go.
void add_to_buffer(TensorData*& slot, Tensor& gradient) {
  if (slot == nullptr) {
    slot = gradient.release();
    return;
  }
  Tensor old = Tensor::adopt(std::exchange(slot, nullptr));
  if (gradient->is_replicated) {
    slot = sum_of_parts(old, gradient).release();
  } else if (may_be_added_to(old)) {
    add_(old, gradient);
    slot = old.release();
  } else {
    slot = add(old, gradient).release();
  }
}

// Whether a gradient of these strides may become .grad of the leaf as it is (utils/grad_layout_contract.h).
bool obeys_layout_contract(const Tensor& gradient, const TensorData& leaf) {
  if (!is_dense(leaf.sizes, leaf.strides)) return gradient.is_contiguous();
  for (int i = 0; i < leaf.sizes.size(); ++i) {
    if (leaf.sizes[i] != 1 ? leaf.strides[i] != gradient.strides()[i] : gradient.strides()[i] == 0) return false;
  }
  return true;
}

void accumulate(TensorData& leaf, Tensor gradient) {
  Tape& tape = *leaf.tape;
  if (leaf.grad != nullptr) {
    add_(Tensor::share(leaf.grad), gradient);
    return;
  }
  if (gradient.use_count() <= 1 && obeys_layout_contract(gradient, leaf)) {
    leaf.grad = tape.alias(gradient, gradient.sizes(), gradient.strides(), gradient->offset).release();
    return;
  }
  Tensor copy = is_dense(leaf.sizes, leaf.strides) ? tape.empty_strided(leaf.sizes, leaf.strides, gradient.type())
                                                   : tape.empty(leaf.sizes, gradient.type());
  tape.count_kernel(2 * copy.bytes());
  leaf.grad = copy.release();
}

class Pass {
 public:
  Pass(Tape& tape, bool retain_graph) : tape_(tape), retain_graph_(retain_graph) {}

  void count_dependencies(Node* root) {
    std::vector<Node*> open = {root};
    visited_.push_back(root);
    root->visit = 1;
    while (!open.empty()) {
      Node* node = open.back();
      open.pop_back();
      for (int i = 0; i < node->edge_count; ++i) {
        Node* target = node->edges[i].node;
        if (target == nullptr) continue;
        ++target->dependencies;
        if (target->visit != 0) continue;
        target->visit = 1;
        visited_.push_back(target);
        open.push_back(target);
      }
    }
    for (Node* node : visited_) node->visit = 0;
  }

  void run(Node* root) {
    push(root);
    while (!ready_.empty()) {
      std::pop_heap(ready_.begin(), ready_.end(), runs_later);
      Node* node = ready_.back();
      ready_.pop_back();
      evaluate(node);
      Node::drop(node);
    }
  }

 private:
  void push(Node* node) {
    Node::share(node);
    ready_.push_back(node);
    std::push_heap(ready_.begin(), ready_.end(), runs_later);
  }

  void evaluate(Node* node) {
    if (node->leaf != nullptr) {
      accumulate(*node->leaf, Tensor::adopt(std::exchange(node->arrived[0], nullptr)));
      if (node->hook != nullptr) node->hook->run(*node, ready_.empty());
      return;
    }
    Tensor* results = room(results_, node->edge_count);
    call(node, results);
    if (!retain_graph_) node->release_saved();
    for (int i = 0; i < node->edge_count; ++i) hand_on(node->edges[i], results[i]);
    for (int i = 0; i < node->edge_count; ++i) results[i].reset();
  }

  // Undefined tensors, at least `count`: every node leaves them so.
  static Tensor* room(std::vector<Tensor>& tensors, std::size_t count) {
    if (tensors.size() < count) tensors.resize(count);
    return tensors.data();
  }

  void call(Node* node, Tensor* results) {
    if (node->hook != nullptr) node->hook->run(*node, ready_.empty());
    Tensor* gradients = room(gradients_, node->input_count);
    bool any = false;
    for (int i = 0; i < node->input_count; ++i) {
      gradients[i] = Tensor::adopt(std::exchange(node->arrived[i], nullptr));
      any = any || gradients[i].defined();
    }
    if (any) apply(node, gradients, results);
    for (int i = 0; i < node->edge_count; ++i) {
      const Edge& edge = node->edges[i];
      if (edge.node != nullptr && results[i].defined()) fit(results[i], edge.node->inputs[edge.slot]);
    }
    for (int i = 0; i < node->input_count; ++i) gradients[i].reset();
  }

  static void apply(Node* node, Tensor* gradients, Tensor* results) {
    if (node->hooks == nullptr) {
      Backward pass(*node, gradients, results, nullptr);
      return node->function(pass, node->captured);
    }
    Tensor unpacked[internal::kMostPacked];
    for (int i = 0; i < node->saved_count; ++i) unpacked[i] = internal::unpack_saved(*node, i);
    Backward pass(*node, gradients, results, unpacked);
    node->function(pass, node->captured);
  }

  static void fit(Tensor& gradient, const GradientShape& wanted) {
    if (!gradient->is_replicated && !(gradient.sizes() == wanted.sizes)) gradient = sum_to(gradient, wanted.sizes);
    if (gradient.type() != wanted.type) gradient = to(gradient, wanted.type);
  }

  void hand_on(const Edge& edge, Tensor& gradient) {
    if (edge.node == nullptr) return;
    if (gradient.defined()) add_to_buffer(edge.node->arrived[edge.slot], gradient);
    if (--edge.node->dependencies == 0) push(edge.node);
  }

  Tape& tape_;
  bool retain_graph_;
  std::vector<Node*> ready_;
  std::vector<Node*> visited_;
  std::vector<Tensor> results_;
  std::vector<Tensor> gradients_;
};

}  // namespace

void backward(const Tensor& root, Tensor gradient, const BackwardOptions& options) {
  Tape& tape = root.tape();
  const Edge edge = gradient_edge(root);
  Node* node = edge.node;
  VRAMWISE_CHECK_THAT(node != nullptr, "backward() on a tensor that wants no gradient");
  const Tensor seed = gradient.defined() ? std::move(gradient) : tape.empty(root.sizes(), root.type());
  const GradMode no_grad(tape, false);
  const Thread before = tape.thread();
  tape.set_thread(Thread::kBackward);
  Pass pass(tape, options.retain_graph);
  pass.count_dependencies(node);
  Tensor first = seed;
  add_to_buffer(node->arrived[edge.slot], first);
  pass.run(node);
  for (const auto& call : tape.take_calls_at_end()) call();
  Node::drop(node);
  tape.set_thread(before);
}

}  // namespace vramwise::tape
