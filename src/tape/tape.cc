// Tensors and their storages: where allocation and release become events.

#include "tape/tape.h"

#include <algorithm>
#include <new>

#include "gpus/cuda_facts.h"

namespace vramwise::tape {

Hardware Hardware::of(int capability, int sm_count, std::int64_t total_bytes) {
  const bool server = capability == 80 || capability == 90 || capability == 100 || capability == 103;
  const int threads = capability < 80 ? (capability == 75 ? 1024 : 2048) : (server ? 2048 : 1536);
  return {.capability = capability,
          .sm_count = sm_count,
          .max_threads_per_sm = threads,
          .total_bytes = total_bytes,
          .flops_per_byte_16bit = 0,
          .flops_per_byte_fp32 = 0};
}

Tape::Tape(const Hardware& hardware) : hardware_(hardware) { events_.reserve(1 << 14); }

Tape::~Tape() {
  for (Storage* workspace : cublas_workspaces_) {
    if (workspace != nullptr) drop(workspace);
  }
}

EventList Tape::take_events() {
  estimates_.clear();
  return std::exchange(events_, {});
}

void Tape::repeat_events(std::size_t first, std::size_t last, std::vector<AllocationId>& names) {
  // Room for this repeat alone would be made, and all events moved, at each of many.
  const std::size_t size = events_.size() + last - first;
  if (size > events_.capacity()) events_.reserve(std::max(size, 2 * events_.capacity()));
  for (std::size_t i = first; i < last; ++i) {
    AllocationEvent event = events_[i];
    if (event.kind == EventKind::kAllocate) {
      event.id = names[event.id] = next_id();
    } else if (event.kind == EventKind::kFree) {
      event.id = names[event.id];
      free_ids_.push_back(event.id);
    } else if (event.kind == EventKind::kRecordStream) {
      event.id = names[event.id];
    }
    events_.push_back(event);
  }
}

Storage* Tape::new_storage(std::int64_t bytes) {
  auto* storage = new (pool_.take(sizeof(Storage))) Storage{.references = 1, .bytes = bytes};
  begin(*storage);
  return storage;
}

void Tape::release(Storage* storage) {
  end(*storage);
  if (storage->pinned_bytes > 0) pinned_memory_.give(storage->pinned_bytes);
  pool_.give(storage, sizeof(Storage));
}

void Tape::resize(Storage& storage, std::int64_t bytes) {
  end(storage);
  storage.bytes = bytes;
  begin(storage);
}

void Tape::begin(Storage& storage) {
  storage.stream = stream_;
  if (storage.bytes != 0) storage.id = take(storage.bytes, stream_);
}

void Tape::end(const Storage& storage) {
  if (storage.bytes != 0) give_back(storage.id);
}

// at::cuda::getCurrentCUDABlasHandle keeps a workspace for each pair of handle and stream (CublasHandlePool.cpp):
// :4096:2:16:8 KiB by default, 32 MiB on 9.0 and later.
void Tape::use_cublas() {
  Storage*& workspace = cublas_workspaces_[static_cast<int>(thread_)];
  if (workspace != nullptr) return;
  const ComputeCapability capability{hardware_.capability / 10, hardware_.capability % 10};
  const std::int64_t bytes = cublas_workspace(capability).bytes.count();
  workspace = new_storage(bytes);
}

std::vector<AllocationId> Tape::cublas_workspaces() const {
  std::vector<AllocationId> ids;
  for (const Storage* workspace : cublas_workspaces_)
    if (workspace != nullptr) ids.push_back(workspace->id);
  return ids;
}

Tensor Tape::empty(const Dims& sizes, DType type) {
  Storage* storage = new_storage(sizes.product() * size_of(type));
  TensorData* data = new_data();
  data->references = 1;
  data->type = type;
  data->tape = this;
  data->storage = storage;
  data->sizes = sizes;
  data->strides = contiguous_strides(sizes);
  return Tensor::adopt(data);
}

Tensor Tape::empty_strided(const Dims& sizes, const Dims& strides, DType type) {
  std::int64_t elements = sizes.product() == 0 ? 0 : 1;
  for (int i = 0; i < sizes.size() && elements > 0; ++i) elements += (sizes[i] - 1) * strides[i];
  Storage* storage = new_storage(elements * size_of(type));
  TensorData* data = new_data();
  data->references = 1;
  data->type = type;
  data->tape = this;
  data->storage = storage;
  data->sizes = sizes;
  data->strides = strides;
  data->is_contiguous = vramwise::tape::is_contiguous(sizes, strides);
  return Tensor::adopt(data);
}

Tensor Tape::parameter(const Dims& sizes, DType type) {
  Tensor leaf = empty(sizes, type);
  leaf->requires_grad = true;
  return leaf;
}

Tensor Tape::on_host(const Dims& sizes, DType type) {
  Tensor tensor = empty(Dims{0}, type);
  tensor->sizes = sizes;
  tensor->strides = contiguous_strides(sizes);
  tensor->on_host = true;
  return tensor;
}

Tensor Tape::pinned(const Dims& sizes, DType type) {
  Tensor tensor = on_host(sizes, type);
  tensor->storage->pinned_bytes = tensor.bytes();
  if (tensor.bytes() > 0) pinned_memory_.take(tensor.bytes());
  return tensor;
}

Tensor Tape::alias(const Tensor& x, const Dims& sizes, const Dims& strides, std::int64_t offset) {
  TensorData* data = new_data();
  ++x->storage->references;
  data->references = 1;
  data->type = x.type();
  data->tape = this;
  data->storage = x->storage;
  data->offset = offset;
  data->sizes = sizes;
  data->strides = strides;
  data->is_contiguous = vramwise::tape::is_contiguous(sizes, strides);
  data->on_host = x->on_host;
  return Tensor::adopt(data);
}

Tensor Tape::view(const Tensor& x, const Dims& sizes, const Dims& strides, std::int64_t offset) {
  Tensor seen = alias(x, sizes, strides, offset);
  seen->base = x->base != nullptr ? x->base : x.get();
  ++seen->base->references;
  return seen;
}

void set_data(const Tensor& x, DType type) {
  if (x.type() == type) return;
  Tape& tape = x.tape();
  Storage* old = std::exchange(x->storage, tape.new_storage(x.numel() * size_of(type)));
  tape.count_kernel(x.bytes() + x.numel() * size_of(type));
  x->type = type;
  tape.drop(old);
}

void move_to_device(const Tensor& x) {
  Storage* old = std::exchange(x->storage, x.tape().new_storage(x.bytes()));
  x->on_host = false;
  x.tape().drop(old);
}

// As TensorImpl::release_resources: what autograd holds goes first, the memory last.
void Tensor::destroy(TensorData* data) {
  if (data->base != nullptr) adopt(std::exchange(data->base, nullptr)).reset();
  if (data->grad != nullptr) adopt(std::exchange(data->grad, nullptr)).reset();
  if (data->grad_fn != nullptr) Node::drop(std::exchange(data->grad_fn, nullptr));
  Tape& tape = *data->tape;
  tape.drop(data->storage);
  tape.give_data(data);
}

}  // namespace vramwise::tape
