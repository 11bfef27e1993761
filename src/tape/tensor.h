// Tensor: shape, strides, type, the storage they look into, and the place in the autograd graph. No values.
//
// A Tensor is a counted reference, as in PyTorch: copying it costs an increment, and the storage's release is an event
// of the tape at exactly the moment at which its last reference goes. Single-threaded.
//
// Operators take Tensors by value and drop them before they return, as the interpreter drops an operand: in
// `silu(gate) * up` the value of silu(gate) is released as soon as the product exists, not at the end of the statement.
#pragma once

#include <cstdint>
#include <utility>

#include "allocator/event.h"
#include "tape/dims.h"
#include "tape/dtype.h"

namespace vramwise::tape {

class Tape;
struct Node;

/// Memory on the device that tensors share.
struct Storage {
  std::uint32_t references = 0;
  AllocationId id = 0;
  std::int64_t bytes = 0;         ///< 0: no allocation stands behind it (no elements, or host memory)
  std::int64_t pinned_bytes = 0;  ///< of page-locked memory of the host
  std::uint32_t changes = 0;      ///< by ops in place
  StreamIndex stream = 0;         ///< on which it was allocated
};

struct TensorData {
  std::uint32_t references = 0;
  DType type = DType::kFloat32;
  bool requires_grad = false;       ///< a leaf's flag
  bool is_contiguous = true;        ///< of sizes and strides
  bool on_host = false;             ///< CPU tensors take no device memory
  bool is_replicated = false;       ///< a gradient that is whole though its parameter is a part (DTensors)
  std::uint16_t output_number = 0;  ///< which output of grad_fn this is
  Tape* tape = nullptr;
  Storage* storage = nullptr;
  std::int64_t offset = 0;      ///< of the first element in the storage, in elements
  Node* grad_fn = nullptr;      ///< counted; null for leaves
  Node* accumulator = nullptr;  ///< of a leaf; not counted, the node clears it
  TensorData* grad = nullptr;   ///< of a leaf; counted
  TensorData* base = nullptr;   ///< of a view: the tensor that it looks into, which it keeps alive; counted
  Dims sizes;
  Dims strides;
};

class Tensor {
 public:
  Tensor() = default;
  /// Takes over one reference that `data` already counts.
  static Tensor adopt(TensorData* data) {
    Tensor tensor;
    tensor.data_ = data;
    return tensor;
  }
  /// Adds a reference.
  static Tensor share(TensorData* data) {
    if (data != nullptr) ++data->references;
    return adopt(data);
  }

  Tensor(const Tensor& other) : data_(other.data_) {
    if (data_ != nullptr) ++data_->references;
  }
  Tensor(Tensor&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Tensor& operator=(const Tensor& other) { return *this = Tensor(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    TensorData* old = std::exchange(data_, std::exchange(other.data_, nullptr));
    if (old != nullptr) drop(old);
    return *this;
  }
  ~Tensor() { reset(); }

  void reset() {
    if (TensorData* old = std::exchange(data_, nullptr)) drop(old);
  }
  TensorData* release() { return std::exchange(data_, nullptr); }

  bool defined() const { return data_ != nullptr; }
  TensorData* get() const { return data_; }
  TensorData* operator->() const { return data_; }

  Tape& tape() const { return *data_->tape; }
  DType type() const { return data_->type; }
  const Dims& sizes() const { return data_->sizes; }
  const Dims& strides() const { return data_->strides; }
  int rank() const { return data_->sizes.size(); }
  /// The size of a dimension; negative ones count from the end.
  std::int64_t size(int dim) const { return data_->sizes[wrap_dim(dim, rank())]; }
  std::int64_t stride(int dim) const { return data_->strides[wrap_dim(dim, rank())]; }
  std::int64_t numel() const { return data_->sizes.product(); }
  std::int64_t bytes() const { return numel() * size_of(data_->type); }
  bool is_contiguous() const { return data_->is_contiguous; }
  bool is_view() const { return data_->base != nullptr; }
  bool is_leaf() const { return data_->grad_fn == nullptr; }
  bool requires_grad() const { return data_->requires_grad || data_->grad_fn != nullptr; }
  /// The gradient of a leaf, or an undefined tensor.
  Tensor grad() const { return share(data_->grad); }
  void set_grad(Tensor grad) const {
    const Tensor old = adopt(data_->grad);
    data_->grad = grad.release();
  }

  /// References to this very tensor, this handle included.
  std::uint32_t use_count() const { return data_->references; }
  bool is_only_user_of_storage() const { return data_->references == 1 && data_->storage->references == 1; }

 private:
  static void drop(TensorData* data) {
    if (--data->references == 0) destroy(data);
  }
  static void destroy(TensorData* data);

  TensorData* data_ = nullptr;
};

/// Drops tensors when it goes out of scope: operators hold their by-value operands with it, because a parameter itself
/// lives until the end of the caller's statement.
template <int N>
class Drop {
 public:
  template <typename... T>
  explicit Drop(T&... tensors) : tensors_{&tensors...} {}
  Drop(const Drop&) = delete;
  Drop& operator=(const Drop&) = delete;
  ~Drop() {
    for (Tensor* tensor : tensors_) tensor->reset();
  }

 private:
  Tensor* tensors_[N];
};
template <typename... T>
Drop(T&...) -> Drop<sizeof...(T)>;

}  // namespace vramwise::tape
