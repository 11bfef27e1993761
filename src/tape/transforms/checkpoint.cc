// Checkpointing by hooks on what autograd saves (torch/utils/checkpoint.py, _checkpoint_hook and _recomputation_hook).
// The recomputation ends with the last tensor that is saved: what comes after it in the block does not run a second
// time.

#include "tape/transforms/checkpoint.h"

#include <optional>
#include <utility>

#include "tape/record.h"
#include "tape/transforms/autocast.h"
#include "tape/transforms/selective.h"

namespace vramwise::tape {
namespace {

class Frame;

// Takes the tensors of the second run, in the same order.
class Recomputation final : public SavedHooks {
 public:
  explicit Recomputation(Frame& frame) : frame_(frame) {}
  std::uint32_t pack(const Tensor& tensor) override;
  Tensor unpack(std::uint32_t number) override { return kept_[number]; }
  void forget(std::uint32_t number) override { kept_[number].reset(); }

 private:
  Frame& frame_;
  std::vector<Tensor> kept_;  // of the graph that the second run builds, which nobody goes back through
};

class SelectiveScope {
 public:
  SelectiveScope(Tape& tape, std::optional<SelectiveCache>& cache) : tape_(tape), before_(tape.selective_cache()) {
    tape.set_selective_cache(cache ? &*cache : nullptr);
  }
  SelectiveScope(const SelectiveScope&) = delete;
  SelectiveScope& operator=(const SelectiveScope&) = delete;
  ~SelectiveScope() { tape_.set_selective_cache(before_); }

 private:
  Tape& tape_;
  SelectiveCache* before_;
};

class Frame final : public SavedHooks {
 public:
  Frame(Tape& tape, BlockOfMany run, std::vector<Tensor> inputs, bool is_selective)
      : tape_(tape), run_(std::move(run)), inputs_(std::move(inputs)) {
    if (tape.autocast() != nullptr) autocast_type_ = tape.autocast()->type();
    if (is_selective) cache_.emplace();
  }

  std::vector<Tensor> first_run() {
    const SelectiveScope scope(tape_, cache_);
    return run_(inputs_);
  }

  std::uint32_t pack(const Tensor&) override {
    slots_.emplace_back();
    return static_cast<std::uint32_t>(slots_.size() - 1);
  }

  Tensor unpack(std::uint32_t number) override {
    if (!is_recomputed_) recompute();
    return std::move(slots_[number].tensor);
  }

  /// The hooks of the second run know this frame by a weak reference only.
  bool is_kept_by_thread_state() const override { return true; }

  void forget(std::uint32_t number) override {
    slots_[number].is_wanted = false;
    slots_[number].tensor.reset();
  }

  /// The next tensor of the second run. True when it is the last one.
  bool take(const Tensor& tensor) {
    Slot& slot = slots_[next_++];
    if (slot.is_wanted) slot.tensor = tape_.alias(tensor, tensor.sizes(), tensor.strides(), tensor->offset);
    return next_ == slots_.size();
  }

 private:
  struct Slot {
    Tensor tensor;
    bool is_wanted = true;
  };

  void recompute() {
    Recomputation hooks(*this);
    hooks.references = 1;  // lives here, whatever its nodes think
    SavedHooks* before = tape_.saved_hooks();
    tape_.set_saved_hooks(&hooks);
    try {
      const GradMode grad(tape_, true);
      std::optional<Autocast> autocast;
      if (autocast_type_) autocast.emplace(tape_, *autocast_type_);
      if (cache_) cache_->begin_second_run();
      const SelectiveScope scope(tape_, cache_);
      run_(inputs_);
    } catch (const StopRecomputation&) {
    }
    tape_.set_saved_hooks(before);
    is_recomputed_ = true;
  }

  Tape& tape_;
  BlockOfMany run_;
  std::vector<Tensor> inputs_;
  std::optional<DType> autocast_type_;
  std::optional<SelectiveCache> cache_;
  std::vector<Slot> slots_;
  std::size_t next_ = 0;
  bool is_recomputed_ = false;
};

std::uint32_t Recomputation::pack(const Tensor& tensor) {
  const bool is_last = frame_.take(tensor);
  if (is_last) throw StopRecomputation{};
  kept_.push_back(tensor.tape().alias(tensor, tensor.sizes(), tensor.strides(), tensor->offset));
  return static_cast<std::uint32_t>(kept_.size() - 1);
}

}  // namespace

std::vector<Tensor> checkpoint_all(Tape& tape, BlockOfMany run, std::vector<Tensor> inputs, bool is_selective) {
  if (!tape.grad_enabled()) return run(inputs);
  auto* frame = new Frame(tape, std::move(run), std::move(inputs), is_selective);
  frame->references = 1;
  SavedHooks* before = tape.saved_hooks();
  tape.set_saved_hooks(frame);
  std::vector<Tensor> out = frame->first_run();
  tape.set_saved_hooks(before);
  if (--frame->references == 0) delete frame;
  return out;
}

Tensor checkpoint(Tape& tape, Block run, std::vector<Tensor> inputs, bool is_selective) {
  const auto as_many = [run = std::move(run)](const std::vector<Tensor>& in) { return std::vector<Tensor>{run(in)}; };
  return std::move(checkpoint_all(tape, as_many, std::move(inputs), is_selective).front());
}

}  // namespace vramwise::tape
