// Tape: one process' view of one device. Tensors are made on it, and each allocation and release becomes an event.
//
//   Tape tape(Hardware::of(86, 82));
//   Tensor w = tape.parameter({4096, 4096}, DType::kBFloat16);
//   Tensor loss = sum(silu(linear(x, w)));
//   backward(loss);
//   replay(tape.events());
//
// A tape is not thread-safe; different tapes are independent. All tensors must be gone before their tape.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "allocator/event.h"
#include "tape/arena.h"
#include "tape/hardware.h"
#include "tape/node.h"
#include "tape/pinned_memory.h"
#include "tape/tensor.h"
#include "tape/work.h"

namespace vramwise::tape {

class SavedHooks;
class SelectiveCache;
class Autocast;
class ModuleHooks;

/// The threads of PyTorch that call CUDA. Each has its own handle of cuBLAS, with a workspace of its own.
enum class Thread : std::uint8_t { kMain, kBackward };

/// Memory of the host that a run takes on the card's behalf: for paged states, and for states of what is offloaded.
enum class HostMemory : std::uint8_t { kManaged, kPageable };

class Tape {
 public:
  explicit Tape(const Hardware& hardware);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  const Hardware& hardware() const { return hardware_; }

  const EventList& events() const { return events_; }
  /// Hands the events so far to the caller and goes on with an empty list, also of estimates.
  EventList take_events();
  void mark(std::uint32_t phase) { events_.push_back(AllocationEvent::mark(phase)); }

  Tensor empty(const Dims& sizes, DType type);
  Tensor empty_strided(const Dims& sizes, const Dims& strides, DType type);
  /// A leaf that wants a gradient.
  Tensor parameter(const Dims& sizes, DType type);
  /// A CPU tensor: it takes no memory of the device.
  Tensor on_host(const Dims& sizes, DType type);
  /// The same in page-locked memory.
  Tensor pinned(const Dims& sizes, DType type);
  /// Another tensor with the same storage, which knows nothing of `x` (tensor_data(), detach()).
  Tensor alias(const Tensor& x, const Dims& sizes, const Dims& strides, std::int64_t offset);
  /// What a view op makes of `x`. It keeps the tensor alive that is at the bottom of all views: so the memory of a
  /// gradient that went through a view has a second user, and is not added to in place.
  Tensor view(const Tensor& x, const Dims& sizes, const Dims& strides, std::int64_t offset);

  /// What is allocated from now on belongs to this stream of CUDA, as inside `with torch.cuda.stream(…)`.
  void set_stream(StreamIndex stream) { stream_ = stream; }
  /// Tensor.record_stream, which does nothing for the stream that the memory was allocated on.
  void record_stream(const Storage& storage, StreamIndex stream) {
    if (storage.bytes > 0 && storage.stream != stream)
      events_.push_back(AllocationEvent::record_stream(storage.id, stream));
  }
  StreamIndex stream() const { return stream_; }
  /// torch.UntypedStorage.resize_: 0 gives the memory back, while tensors still look at the storage.
  void resize(Storage& storage, std::int64_t bytes);

  /// Models are built in host memory, as without a device's name in PyTorch.
  bool builds_on_host() const { return builds_on_host_; }
  void set_builds_on_host(bool on_host) { builds_on_host_ = on_host; }

  /// Runs `call` at the end of the backward pass (queue_callback of PyTorch's engine).
  void at_end_of_backward(std::function<void()> call) { at_end_of_backward_.push_back(std::move(call)); }
  std::vector<std::function<void()>> take_calls_at_end() { return std::exchange(at_end_of_backward_, {}); }

  /// torch.cuda.empty_cache().
  void empty_cache() { events_.push_back(AllocationEvent::empty_cache()); }

  bool grad_enabled() const { return grad_enabled_; }
  void set_grad_enabled(bool enabled) { grad_enabled_ = enabled; }
  std::uint64_t next_sequence() { return sequence_++; }
  SavedHooks* saved_hooks() const { return saved_hooks_; }
  void set_saved_hooks(SavedHooks* hooks) { saved_hooks_ = hooks; }
  /// What the checkpointed block that runs keeps of its first run; null outside of one.
  SelectiveCache* selective_cache() const { return selective_cache_; }
  void set_selective_cache(SelectiveCache* cache) { selective_cache_ = cache; }
  /// Composite ops change nothing in place then (isTensorSubclassLike of PyTorch 2.14's TensorSubclassLikeUtils.h).
  bool has_dispatch_mode() const { return selective_cache_ != nullptr; }
  /// A result that such a block kept was changed in place, at which PyTorch stops.
  void note_changed_result() { has_changed_result_ = true; }
  bool has_changed_result() const { return has_changed_result_; }
  Autocast* autocast() const { return autocast_; }
  void set_autocast(Autocast* autocast) { autocast_ = autocast; }
  /// What surrounds the modules of the model; null as a rule.
  ModuleHooks* module_hooks() const { return module_hooks_; }
  void set_module_hooks(ModuleHooks* hooks) { module_hooks_ = hooks; }
  Thread thread() const { return thread_; }
  void set_thread(Thread thread) { thread_ = thread; }

  /// Called by whatever uses a handle of cuBLAS or cuBLASLt: the first use of a thread's handle allocates its
  /// workspace.
  void use_cublas();
  /// The allocations of those workspaces, which stay to the end.
  std::vector<AllocationId> cublas_workspaces() const;

  /// The event that comes next allocates memory whose size is an estimate, not PyTorch's own.
  void estimate_next() { estimate_at(events_.size()); }
  void estimate_at(std::size_t event) { estimates_.push_back(event); }
  /// Those events, as indices into events().
  const std::vector<std::size_t>& estimates() const { return estimates_; }

  void count_product(const ProductShape& shape, DType type) { work_.add_product(shape, type, hardware_); }
  void count_attention(double flops) {
    work_.attention_flops += flops;
    ++work_.kernels;
  }
  void count_kernel(std::int64_t bytes_moved) {
    work_.bytes_moved += bytes_moved;
    ++work_.kernels;
  }
  void add_work(const Work& work) { work_ += work; }
  const Work& work() const { return work_; }

  void take_host_memory(HostMemory kind, std::int64_t bytes) { host_bytes_[static_cast<int>(kind)] += bytes; }
  std::int64_t host_bytes(HostMemory kind) const { return host_bytes_[static_cast<int>(kind)]; }

  PinnedMemory& pinned_memory() { return pinned_memory_; }
  const PinnedMemory& pinned_memory() const { return pinned_memory_; }

  // For tensors, storages and nodes.
  Pool& pool() { return pool_; }
  Storage* new_storage(std::int64_t bytes);
  void drop(Storage* storage) {
    if (--storage->references == 0) release(storage);
  }
  // For memory of which nobody has a tensor (transforms/repeat.h).
  AllocationId take(std::int64_t bytes, StreamIndex stream) {
    const AllocationId id = next_id();
    events_.push_back(AllocationEvent::allocate(id, bytes, stream));
    return id;
  }
  void give_back(AllocationId id) {
    events_.push_back(AllocationEvent::free(id));
    free_ids_.push_back(id);
  }
  /// The events from `first` to `last` once more. `names`, by id: who frees what an earlier event allocated calls it
  /// so; what is allocated gets its new name there.
  void repeat_events(std::size_t first, std::size_t last, std::vector<AllocationId>& names);
  /// A storage on such memory, without references.
  Storage* storage_of(AllocationId id, std::int64_t bytes) {
    return new (pool_.take(sizeof(Storage))) Storage{.references = 0, .id = id, .bytes = bytes};
  }
  /// Ids are below it.
  AllocationId id_count() const { return next_id_; }
  TensorData* new_data() { return new (pool_.take(sizeof(TensorData))) TensorData{}; }
  void give_data(TensorData* data) { pool_.give(data, sizeof(TensorData)); }

 private:
  void release(Storage* storage);
  void begin(Storage& storage);
  void end(const Storage& storage);
  AllocationId next_id() {
    if (free_ids_.empty()) return next_id_++;
    const AllocationId id = free_ids_.back();
    free_ids_.pop_back();
    return id;
  }

  Hardware hardware_;
  Pool pool_;
  EventList events_;
  std::vector<AllocationId> free_ids_;
  AllocationId next_id_ = 0;
  std::uint64_t sequence_ = 0;
  bool grad_enabled_ = true;
  bool builds_on_host_ = false;
  StreamIndex stream_ = 0;
  Thread thread_ = Thread::kMain;
  std::vector<std::function<void()>> at_end_of_backward_;
  Work work_;
  std::int64_t host_bytes_[2] = {};
  PinnedMemory pinned_memory_;
  SavedHooks* saved_hooks_ = nullptr;
  SelectiveCache* selective_cache_ = nullptr;
  bool has_changed_result_ = false;
  Autocast* autocast_ = nullptr;
  ModuleHooks* module_hooks_ = nullptr;
  Storage* cublas_workspaces_[2] = {};
  std::vector<std::size_t> estimates_;
};

/// x.data = x.data.to(type): a leaf gets other memory. Handles of it see the change.
void set_data(const Tensor& x, DType type);

/// A tensor of on_host() gets memory of the device.
void move_to_device(const Tensor& x);

/// Memory that one kernel needs for itself, released at the end of the scope.
class Scratch {
 public:
  Scratch(Tape& tape, std::int64_t bytes) : tape_(tape), storage_(bytes > 0 ? tape.new_storage(bytes) : nullptr) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (storage_ != nullptr) tape_.drop(storage_);
  }

 private:
  Tape& tape_;
  Storage* storage_;
};

/// torch.set_grad_enabled as a scope.
class GradMode {
 public:
  GradMode(Tape& tape, bool enabled) : tape_(tape), before_(tape.grad_enabled()) { tape.set_grad_enabled(enabled); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;
  ~GradMode() { tape_.set_grad_enabled(before_); }

 private:
  Tape& tape_;
  bool before_;
};

}  // namespace vramwise::tape
