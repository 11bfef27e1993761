// LayerRecord: what one layer allocates and releases, forward and backward, and what it leaves behind for others.
//
// What hooks do with a parameter's gradient once it is there (buckets that several cards sum) is not the layer's: they
// run anew, and the record says only when.
//
// Allocations are named by slots. Forward: as they come. Backward: first those that the forward pass left, then the
// gradient of the layer's result and its input, then new ones as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "allocator/event.h"
#include "tape/node.h"
#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// A tensor but for its memory.
struct TensorLook {
  DType type = DType::kFloat32;
  bool is_contiguous = true;
  std::int64_t offset = 0;
  Dims sizes;
  Dims strides;

  Tensor on(Tape& tape, Storage* storage) const;
  bool operator==(const TensorLook&) const = default;
};

TensorLook look_of(const TensorData& data);

struct SlotEvent {
  std::int64_t bytes = 0;
  std::uint32_t slot = 0;
  StreamIndex stream = 0;
  bool is_release = false;

  bool operator==(const SlotEvent&) const = default;
};

struct SlotEvents {
  std::vector<SlotEvent> events;
  std::uint32_t slots = 0;
  std::vector<std::size_t> estimates;  ///< which events' sizes are estimates
  Work work;

  bool operator==(const SlotEvents&) const = default;
};

/// A hook of a parameter's gradient that can run beside a record.
struct RepeatableHook : GradientHook {};

/// A hook of a parameter's gradient: what it did is no part of the record.
struct HookCall {
  std::uint32_t parameter = 0;
  std::size_t first = 0, last = 0;            ///< its events among the tape's
  std::optional<AllocationId> gradient = {};  ///< handed over to it, if new
  std::uint32_t slot = ~std::uint32_t{0};     ///< of that
  std::size_t place = 0;                      ///< in the record: before which event it runs
};

/// Tells the slots of a stretch of a tape's events while it is recorded.
class SlotRecorder {
 public:
  explicit SlotRecorder(const Tape& tape);
  /// An allocation from before the stretch that it may release.
  void add(AllocationId id) { slot_of(id) = next_slot_++; }
  /// A slot that stays without use.
  void skip() { ++next_slot_; }
  /// The stretch ends here. False: it does what a record can't hold. `calls`: of hooks in it, in order.
  bool finish(SlotEvents& result, std::span<HookCall> calls = {});
  /// Of an allocation that is alive now; kNone.
  std::uint32_t find(AllocationId id) { return slot_of(id); }
  std::uint32_t next_slot() const { return next_slot_; }
  /// By slot: what is alive at the end of the stretch, of all that it allocated.
  const std::vector<std::pair<std::uint32_t, AllocationEvent>>& alive() const { return alive_; }

  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

 private:
  std::uint32_t& slot_of(AllocationId id);
  std::vector<std::size_t> new_workspaces() const;  ///< places among the tape's events

  const Tape& tape_;
  std::size_t first_event_;
  std::size_t first_estimate_;
  std::size_t workspaces_before_;
  Work work_before_;
  std::vector<std::uint32_t> slots_;  ///< by id
  std::uint32_t next_slot_ = 0;
  std::vector<std::pair<std::uint32_t, AllocationEvent>> alive_;
};

/// What a layer does and leaves.
struct LayerRecord {
  /// What the forward pass leaves, in the order of allocation.
  struct Left {
    std::uint32_t slot = 0;
    std::int64_t bytes = 0;
    bool is_visible = false;    ///< others have tensors on it
    bool is_for_graph = false;  ///< the backward pass releases it
    bool operator==(const Left&) const = default;
  };
  struct Visible {
    std::uint32_t left = 0;  ///< index into `left`
    std::uint32_t parameter = 0;
    TensorLook look;
    bool operator==(const Visible&) const = default;
  };
  struct Gradient {
    bool was_there = false;  ///< then it is added to in place
    bool comes = false;
    bool is_handed_over = false;  ///< to a hook, as soon as it is there
    std::uint32_t slot = 0;
    std::int64_t bytes = 0;
    TensorLook look;
  };

  TensorLook in;
  bool has_autocast = false;
  SlotEvents forward;
  std::vector<Left> left;
  Visible out;
  std::vector<Visible> kept;
  std::vector<Visible> casts;  ///< of parameters
  bool holds_input = false;    ///< the graph does

  bool has_backward = false;
  SlotEvents backward;
  Gradient in_gradient;             ///< of the input; that of the result looks the same
  std::vector<Gradient> gradients;  ///< of the parameters
  struct Hook {
    std::size_t place = 0;  ///< before which event of `backward`
    std::uint32_t parameter = 0;
  };
  std::vector<Hook> hooks;  ///< of gradients, in order

  std::uint32_t gradient_slot() const { return static_cast<std::uint32_t>(left.size()); }
  std::uint32_t input_slot() const { return gradient_slot() + 1; }
  bool is_same_forward(const LayerRecord& other) const;
};

/// Records the forward pass of a layer that really runs.
class ForwardRecorder {
 public:
  ForwardRecorder(Tape& tape, const Tensor& in, const std::vector<Tensor>* kept);
  /// False: the layer does what can't be repeated. `ids`: those of `record.left`.
  bool finish(const Tensor& in, const Tensor& out, const std::vector<Tensor>& parameters, LayerRecord& record,
              std::vector<AllocationId>& ids);

 private:
  bool find_visible(const Tensor& out, const std::vector<Tensor>& parameters, LayerRecord& record);
  bool is_closed(const Tensor& in, const Tensor& out, const std::vector<Tensor>& parameters) const;

  Tape& tape_;
  SlotRecorder slots_;
  const std::vector<Tensor>* kept_;
  std::size_t first_kept_ = 0;
  std::size_t first_cast_ = 0;
  std::uint64_t first_sequence_;
  std::uint32_t input_references_;
  std::uint32_t input_users_;
};

/// Records the backward pass of a layer that really runs, between the moments at which the gradients of its result and
/// of its input are whole.
class BackwardRecorder {
 public:
  /// `ids`: what ForwardRecorder told. `input`: the allocation of the layer's input.
  BackwardRecorder(Tape& tape, const LayerRecord& record, std::span<const AllocationId> ids, AllocationId input,
                   const TensorData* gradient, const std::vector<Tensor>& parameters);
  /// Around each hook of a parameter's gradient.
  void begin_hook(std::uint32_t parameter, const TensorData* gradient);
  void end_hook();
  /// False: the backward pass does what can't be repeated.
  bool finish(const TensorData* gradient, const std::vector<Tensor>& parameters, LayerRecord& record);

 private:
  void describe(const TensorData& data, std::uint32_t slot, LayerRecord::Gradient& each) const;
  bool leaves_nothing_else(const LayerRecord& record) const;

  const Tape& tape_;
  SlotRecorder slots_;
  std::vector<HookCall> calls_;
  std::vector<LayerRecord::Gradient> handed_over_;  ///< of each call
  Work before_hook_, of_hooks_;
  TensorLook gradient_;
  bool is_good_ = true;
  std::vector<TensorData*> before_;  ///< the parameters' gradients
};

}  // namespace vramwise::tape
