// As torch/distributed/fsdp/_fully_shard of PyTorch 2.14 has it (_fsdp_param_group.py, _fsdp_collectives.py), and the
// kernels that copy many tensors at once (aten/src/ATen/native/cuda/TensorShape.cu), which keep a table on the device
// while they are launched.

#include "tape/parallel/fully_shard.h"

#include <algorithm>
#include <cmath>

#include "tape/ops/pointwise.h"
#include "tape/parallel/on_stream.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

// Streams of their own: copies into the buffer of an all-gather, and the reduction of gradients.
constexpr StreamIndex kCopyInStream = 1;
constexpr StreamIndex kReduceStream = 2;

// A table that is made on the host and copied.
class DeviceTable {
 public:
  DeviceTable(Tape& tape, std::int64_t bytes) : on_host_(tape.pinned({bytes}, DType::kUInt8)), scratch_(tape, bytes) {}

 private:
  Tensor on_host_;
  Scratch scratch_;
};

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

constexpr std::int64_t kBlockThreads = 128;
constexpr std::int64_t kBlockBytes = kBlockThreads * 16;  // a thread copies 16 bytes at once
constexpr std::int64_t kNumber = 8;                       // tables are of int64

enum class State : std::uint8_t { kIdle, kForward, kBeforeBackward, kAfterBackward };

}  // namespace

struct FullyShard::Group final : GradientHook {
  struct Parameter {
    Tensor whole;  ///< its storage has memory while the group is gathered
    Tensor shard;  ///< rank 0 has the largest one, without padding
    std::int64_t shard_numel() const { return shard.numel(); }
    std::int64_t gathered_bytes() const { return shard.numel() * size_of(whole.type()); }
  };

  FullyShard* owner = nullptr;
  std::vector<Parameter> parameters;
  bool is_model = false;
  bool is_unsharded = false;
  State state = State::kIdle;
  Tensor gather;                    ///< what was gathered and is still to be copied out
  std::vector<std::size_t> places;  ///< in the order of the forward pass

  void run(const Node&, bool) override { owner->before_backward(*this); }

  /// Of the shards as they are gathered.
  std::int64_t gathered_bytes() const {
    std::int64_t sum = 0;
    for (const Parameter& parameter : parameters) sum += parameter.gathered_bytes();
    return sum;
  }
};

namespace {

using Group = FullyShard::Group;

// split_with_sizes_copy: addresses and sizes of the pieces, and for each block of threads its piece.
std::int64_t copy_out_table(const Group& group, const FullyShardOptions& options, const Hardware& hardware) {
  const std::int64_t ranks = options.ranks;
  std::int64_t blocks = 0;
  for (const auto& parameter : group.parameters) blocks += divided_up(parameter.gathered_bytes(), kBlockBytes);
  const std::int64_t most = std::int64_t{hardware.sm_count} * hardware.max_threads_per_sm / kBlockThreads * 2;
  const std::int64_t rounds = divided_up(blocks * ranks, most);
  const std::int64_t chunks =
      std::min(static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(rounds)))), ranks);
  const std::int64_t rounds_each = divided_up(rounds, chunks);
  std::int64_t used = 0;
  for (const auto& parameter : group.parameters)
    used += divided_up(parameter.gathered_bytes(), kBlockBytes * rounds_each);
  const auto pieces = static_cast<std::int64_t>(group.parameters.size());
  return kNumber * (4 * pieces + 1 + used);
}

// What _chunk_cat does where it has no kernel for the types: gradients that are not cut evenly are padded, all at once.
void pad_unequal(const std::vector<std::pair<std::size_t, Tensor>>& gradients, int ranks) {
  std::vector<Tensor> padded;
  for (const auto& [place, gradient] : gradients) {
    Dims sizes = gradient.sizes();
    sizes[0] = divided_up(sizes[0], ranks) * ranks;
    if (sizes[0] != gradient.size(0)) padded.push_back(gradient.tape().empty(sizes, gradient.type()));
  }
}

}  // namespace

FullyShard::FullyShard(Tape& tape, const FullyShardOptions& options) : tape_(tape), options_(options) {
  VRAMWISE_CHECK(options.ranks > 1);
}

FullyShard::~FullyShard() = default;

DType FullyShard::stored_type(const Tensor& parameter) const {
  return options_.mixed ? options_.mixed->stored : parameter.type();
}

// fully_shard(module): everything comes onto the device, then the shards are made, then the whole parameters go.
std::unique_ptr<FullyShard::Group> FullyShard::make_group(const std::vector<Tensor>& parameters,
                                                          const std::vector<Tensor>& buffers,
                                                          std::vector<Tensor>& shards) {
  auto group = std::make_unique<Group>();
  group->owner = this;
  std::vector<Tensor> moved;
  moved.reserve(parameters.size());
  for (const Tensor& parameter : parameters) moved.push_back(tape_.empty(parameter.sizes(), stored_type(parameter)));
  for (const Tensor& buffer : buffers) move_to_device(buffer);
  for (const Tensor& parameter : parameters) {
    Dims sizes = parameter.sizes();
    sizes[0] = divided_up(sizes[0], options_.ranks);
    Tensor shard = tape_.empty(sizes, stored_type(parameter));
    if (options_.offloads) shard = tape_.pinned(sizes, stored_type(parameter));
    shard->requires_grad = parameter->requires_grad;
    parameter->on_host = false;
    shards.push_back(shard);
    group->parameters.push_back({.whole = parameter, .shard = std::move(shard)});
  }
  for (Tensor& whole : moved) whole.reset();
  return group;
}

std::vector<Tensor> FullyShard::add_layer(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) {
  std::vector<Tensor> shards;
  layers_.push_back(make_group(parameters, buffers, shards));
  return shards;
}

std::vector<Tensor> FullyShard::add_model(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers) {
  std::vector<Tensor> shards;
  model_ = make_group(parameters, buffers, shards);
  model_->is_model = true;
  return shards;
}

void FullyShard::note_gathered() { gathered_.push_back(tape_.events().size()); }

// foreach_all_gather: the shards, in the types of the computation, are part of the buffer that all ranks' come into:
// one of bytes where these types differ.
void FullyShard::unshard(Group& group) {
  if (group.gather.defined() || group.is_unsharded) return;
  const OnStream stream(tape_, kCopyInStream);
  const std::vector<Tensor> inputs = gather_inputs(group);
  note_gathered();
  group.gather = tape_.empty({group.gathered_bytes() * options_.ranks}, DType::kUInt8);
  tape_.count_kernel(2 * group.gathered_bytes());
}

// _get_param_all_gather_inputs: shards from the host one by one; otherwise those that are computed in another type, in
// one flat tensor.
std::vector<Tensor> FullyShard::gather_inputs(const Group& group) {
  const GradMode no_grad(tape_, false);
  std::vector<Tensor> inputs;
  std::int64_t flat_bytes = 0;
  for (const Group::Parameter& parameter : group.parameters) {
    const DType computed = parameter.whole.type();
    if (options_.offloads) {
      note_gathered();
      Tensor moved = tape_.empty(parameter.shard.sizes(), parameter.shard.type());
      if (computed != moved.type()) note_gathered();
      inputs.push_back(to(std::move(moved), computed));
    } else if (parameter.shard.type() != computed) {
      flat_bytes += parameter.gathered_bytes();
    }
  }
  if (flat_bytes > 0) {
    note_gathered();
    inputs.push_back(tape_.empty({flat_bytes}, DType::kUInt8));
  }
  return inputs;
}

void FullyShard::wait_for_unshard(Group& group) {
  if (!group.gather.defined()) return;
  const bool is_forward = group.state == State::kForward;
  // A name of the function keeps it to the end.
  const Tensor before = is_forward ? std::exchange(held_gather_, {}) : Tensor();
  for (const Group::Parameter& parameter : group.parameters) {
    note_gathered();
    tape_.resize(*parameter.whole->storage, parameter.gathered_bytes() * options_.ranks);
  }
  {
    const DeviceTable table(tape_, copy_out_table(group, options_, tape_.hardware()));
  }
  tape_.count_kernel(2 * group.gather.bytes());
  group.is_unsharded = true;
  // Overlaps with the next group's gather, which so must not get the same memory.
  if (is_forward) held_gather_ = group.gather;
  group.gather.reset();
}

void FullyShard::reshard(const Group& group) {
  for (const Group::Parameter& parameter : group.parameters) tape_.resize(*parameter.whole->storage, 0);
}

void FullyShard::enter(Group& group) {
  group.state = State::kForward;
  unshard(group);
  wait_for_unshard(group);
}

void FullyShard::leave(Group& group, const Tensor& out) {
  if (!group.is_model && options_.reshards_after_forward) {
    reshard(group);
    group.is_unsharded = false;
  }
  group.places.push_back(forward_order_.size());
  forward_order_.push_back(&group);
  group.state = State::kIdle;
  if (out->grad_fn != nullptr) out->grad_fn->hook = &group;
}

void FullyShard::before_model() { enter(*model_); }

void FullyShard::after_model(const Tensor& loss) {
  leave(*model_, loss);
  held_gather_.reset();
}

// MixedPrecisionPolicy.cast_forward_inputs.
Tensor FullyShard::argument(const Tensor& x) {
  return options_.mixed && x.defined() && is_floating(x.type()) ? to(x, options_.mixed->computed) : x;
}

// RegisterPostBackwardFunction returns the inputs that want gradients, which autograd makes views of.
std::vector<Tensor> FullyShard::before_layer(int number, std::vector<Tensor> inputs) {
  Group* group = layers_[static_cast<std::size_t>(number)].get();
  for (Tensor& input : inputs) input = argument(input);
  enter(*group);
  if (!tape_.grad_enabled()) return inputs;
  std::vector<Tensor> wanted;
  std::vector<Tensor> seen;
  for (Tensor& input : inputs) {
    if (!input.defined() || !input.requires_grad()) continue;
    wanted.push_back(input);
    seen.push_back(tape_.view(input, input.sizes(), input.strides(), input->offset));
    input = seen.back();
  }
  if (seen.empty()) return inputs;
  record_lists(seen, wanted, [group](Backward& pass) {
    group->owner->after_backward(*group);
    for (int i = 0; i < pass.input_count(); ++i) pass.give(i, pass.take_grad(i));
  });
  return inputs;
}

void FullyShard::after_layer(int number, const Tensor& out) { leave(*layers_[static_cast<std::size_t>(number)], out); }

// Gathers the group, if the one that ran before it has not, and the one that will run next.
void FullyShard::before_backward(Group& group) {
  if (!std::exchange(has_queued_end_, true)) tape_.at_end_of_backward([this] { end_backward(); });
  if (group.state == State::kBeforeBackward) return;
  group.state = State::kBeforeBackward;
  unshard(group);
  wait_for_unshard(group);
  if (group.places.empty()) return;
  const std::size_t place = group.places.back();
  group.places.pop_back();
  if (place > 0) unshard(*forward_order_[place - 1]);
}

void FullyShard::after_backward(Group& group) {
  group.state = State::kAfterBackward;
  std::vector<std::pair<std::size_t, Tensor>> gradients;
  for (std::size_t i = 0; i < group.parameters.size(); ++i) {
    const Tensor& whole = group.parameters[i].whole;
    if (whole->grad == nullptr) continue;
    gradients.emplace_back(i, whole.grad());
    whole.set_grad({});
  }
  if (std::exchange(group.is_unsharded, false)) reshard(group);
  reduce_input_.reset();
  if (!gradients.empty()) reduce(group, std::move(gradients));
}

// foreach_reduce: all gradients, in pieces by rank, in one buffer; what comes out holds the shards of all gradients.
void FullyShard::reduce(Group& group, std::vector<std::pair<std::size_t, Tensor>> gradients) {
  const GradMode no_grad(tape_, false);
  // All parameters of a group that get gradients have one type, or fully_shard stops.
  const DType stored = group.parameters[gradients.front().first].shard.type();
  const DType summed = options_.mixed ? options_.mixed->reduced : gradients.front().second.type();
  std::int64_t numel = 0;
  std::int64_t blocks = 0;
  for (const auto& [place, gradient] : gradients) {
    const std::int64_t shard = group.parameters[place].shard_numel();
    numel += shard;
    blocks += divided_up(shard * size_of(summed), kBlockBytes);
  }
  reduce_input_ = tape_.empty({numel * options_.ranks}, summed);
  const DType computed = gradients.front().second.type();
  if (summed == computed || (summed == DType::kFloat32 && computed == DType::kBFloat16)) {
    const auto pieces = static_cast<std::int64_t>(gradients.size());
    const DeviceTable table(tape_, kNumber * (6 * pieces + 2 + blocks));
  } else {
    pad_unequal(gradients, options_.ranks);
  }
  const Tensor last = gradients.back().second;  // a loop's name keeps it to the end
  std::vector<std::size_t> places;
  for (auto& [place, gradient] : gradients) {
    places.push_back(place);
    gradient.reset();
  }
  const OnStream stream(tape_, kReduceStream);
  Tensor reduced = tape_.empty({numel}, summed);
  if (summed != stored) reduced = to(std::move(reduced), stored);
  tape_.count_kernel(2 * reduce_input_.bytes());
  std::int64_t offset = 0;
  for (const std::size_t place : places) {
    const Tensor& shard = group.parameters[place].shard;
    Tensor gradient = tape_.alias(reduced, shard.sizes(), shard.strides(), offset);
    offset += shard.numel();
    if (options_.offloads) {
      // The second pass' gradients are added on the host.
      if (shard->grad == nullptr) shard.set_grad(tape_.pinned(shard.sizes(), shard.type()));
    } else if (shard->grad == nullptr) {
      shard.set_grad(std::move(gradient));
    } else {
      add_(shard.grad(), gradient);
    }
  }
}

// _root_post_backward_final_callback, for whose inputs no gradient came.
void FullyShard::end_backward() {
  has_queued_end_ = false;
  const auto finish = [this](Group& group) {
    if (group.state != State::kAfterBackward) after_backward(group);
    group.state = State::kIdle;
    group.gather.reset();
    group.places.clear();
  };
  finish(*model_);
  for (const auto& layer : layers_) finish(*layer);
  forward_order_.clear();
  reduce_input_.reset();
}

}  // namespace vramwise::tape
