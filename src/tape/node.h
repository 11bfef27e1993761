// Node: one step of the backward pass, with the tensors it saved. Edges lead to the nodes that take its gradients.
//
// A node lives in one piece of pool memory: itself, then its edges, the shapes of the forward op's results, the
// gradients that were handed in so far (PyTorch's InputBuffer), the saved tensors, and what the formula captured.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tape/tensor.h"

namespace vramwise::tape {

struct Node;
class Backward;
class SavedHooks;

/// What runs when a node's turn has come: before its formula, or after a leaf has taken its gradient
/// (Tensor.register_hook, Node.register_hook of an accumulator).
class GradientHook {
 public:
  virtual ~GradientHook() = default;
  /// `is_alone`: no other node is ready.
  virtual void run(const Node& node, bool is_alone) = 0;
};

struct Edge {
  Node* node = nullptr;    ///< counted; null where no gradient is wanted
  std::uint32_t slot = 0;  ///< which of that node's inputs
};

/// What a gradient that arrives at a node must look like: it is summed down to this shape and cast to this type.
struct GradientShape {
  Dims sizes;
  DType type = DType::kFloat32;
};

/// Computes the gradients of the forward op's inputs. `captured` are the formula's own numbers.
using BackwardFunction = void (*)(Backward& pass, const std::byte* captured);

struct Node {
  static constexpr std::uint64_t kLast = ~std::uint64_t{0};  ///< accumulators run before all else that is ready

  std::uint32_t references = 0;
  std::uint32_t dependencies = 0;  ///< gradients still to come in the pass that runs
  std::uint64_t sequence = 0;      ///< later ops run earlier in the backward pass
  Tape* tape = nullptr;
  BackwardFunction function = nullptr;
  TensorData* leaf = nullptr;    ///< counted; of an accumulator
  GradientHook* hook = nullptr;  ///< not owned
  TensorData* held = nullptr;    ///< counted; stays until the node itself goes, as a Python function's attributes do

  std::uint16_t edge_count = 0;
  std::uint16_t input_count = 0;
  std::uint16_t saved_count = 0;
  bool released = false;
  std::uint16_t visit = 0;  ///< mark of the engine's walk

  Edge* edges = nullptr;
  GradientShape* inputs = nullptr;
  TensorData** arrived = nullptr;   ///< counted; one for each input
  TensorData** saved = nullptr;     ///< counted; null entries are undefined or released
  std::uint32_t* packed = nullptr;  ///< under saved-tensor hooks: their numbers for the saved tensors
  SavedHooks* hooks = nullptr;      ///< counted; null where the tensors themselves were saved
  std::int64_t* numbers = nullptr;
  std::byte* captured = nullptr;
  std::uint32_t total_bytes = 0;

  void release_saved();
  static void share(Node* node) { ++node->references; }
  static void drop(Node* node) {
    if (--node->references == 0) destroy(node);
  }
  static void destroy(Node* node);
};

/// Where a tensor's gradient goes: to the node that made it, or to a leaf's accumulator. Counted; null where no
/// gradient is wanted.
Edge gradient_edge(const Tensor& tensor);

/// Keeps `tensor` for as long as the node that made `result` is there.
void hold(const Tensor& result, const Tensor& tensor);

}  // namespace vramwise::tape
