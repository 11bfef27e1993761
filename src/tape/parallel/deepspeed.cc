// As deepspeed/runtime/zero/stage_1_and_2.py and engine.py of DeepSpeed 0.19.8 have it, with one group of parameters.

#include "tape/parallel/deepspeed.h"

#include <algorithm>
#include <numeric>

#include "tape/engine.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/parallel/deepspeed_norm.h"
#include "tape/parallel/on_stream.h"
#include "tape/parallel/set_data.h"

namespace vramwise::tape {
namespace {

constexpr StreamIndex kReduceStream = 1;

std::int64_t numel_of(const std::vector<Tensor>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), std::int64_t{0},
                         [](std::int64_t sum, const Tensor& each) { return sum + each.numel(); });
}

// deepspeed/ops/adam/fused_adam.py: the kernel (csrc/adam/multi_tensor_adam.cu) takes no memory.
class FusedAdam final : public Optimizer {
 public:
  explicit FusedAdam(const std::vector<Tensor>& masters) : Optimizer(masters), states_(masters.size()) {}

  void step() override {
    for (const std::size_t i : with_gradient()) {
      const Tensor& master = parameters_[i];
      if (!states_[i].mean.defined()) states_[i] = {.mean = zeros_like(master), .square = zeros_like(master)};
      master.tape().count_kernel(7 * master.bytes());
    }
  }

 private:
  struct States {
    Tensor mean;
    Tensor square;
  };
  std::vector<States> states_;
};

}  // namespace

std::unique_ptr<Optimizer> DeepSpeedEngine::make_fused_adam() const { return std::make_unique<FusedAdam>(masters()); }

struct Zero2Engine::Hook final : GradientHook {
  Hook(Zero2Engine& engine, std::size_t number) : owner(engine), index(number) {}
  void run(const Node&, bool) override { owner.take_gradient(index); }

  Zero2Engine& owner;
  std::size_t index;
};

Zero2Engine::Zero2Engine(Tape& tape, std::vector<Tensor> parameters, const DeepSpeedOptions& options)
    : tape_(tape), options_(options) {
  for (Tensor& parameter : parameters)
    if (parameter->requires_grad) parameters_.push_back(std::move(parameter));
  const GradMode no_grad(tape, false);
  if (options_.has_fused_adam) overflow_flag_ = tape.empty({1}, DType::kInt32);
  flatten_parameters();
  take_parts();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    accumulators_.push_back(gradient_edge(parameters_[i]));
    hooks_.push_back(std::make_unique<Hook>(*this, i));
    accumulators_.back().node->hook = hooks_.back().get();
  }
  zeros_like(masters_.front()).reset();  // initialize_optimizer_states
}

Zero2Engine::~Zero2Engine() {
  for (const Edge& edge : accumulators_) {
    edge.node->hook = nullptr;
    Node::drop(edge.node);
  }
}

// The flat tensor is padded, so that ranks' parts are equal and lie on 4 bytes. Where it doesn't fit beside the
// parameters, it is made on the host.
void Zero2Engine::flatten_parameters() {
  order_.resize(parameters_.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  const auto ranks = static_cast<std::size_t>(options_.ranks);
  if (options_.round_robin)
    std::stable_sort(order_.begin(), order_.end(),
                     [ranks](std::size_t a, std::size_t b) { return a % ranks < b % ranks; });
  const std::int64_t alignment = 2 * std::int64_t{options_.ranks};
  const std::int64_t numel = numel_of(parameters_);
  const std::int64_t padding = (alignment - numel % alignment) % alignment;
  const DType type = parameters_.front().type();
  part_numel_ = (numel + padding) / options_.ranks;
  tape_.empty_cache();
  const std::int64_t bytes = numel * size_of(type);
  if (options_.card_bytes > 0 && options_.card_bytes - bytes < (numel + padding) * size_of(type)) {
    for (const Tensor& parameter : parameters_) set_data(parameter, tape_.empty({1}, DType::kFloat32), 0);
    tape_.empty_cache();
    flat_ = tape_.empty({numel + padding}, type);
  } else {
    const Tensor zeros = padding > 0 ? tape_.empty({padding}, type) : Tensor();
    flat_ = tape_.empty({numel + padding}, type);
    tape_.count_kernel(2 * flat_.bytes());
  }
  starts_.resize(parameters_.size());
  std::int64_t offset = 0;
  for (const std::size_t i : order_) {
    set_data(parameters_[i], flat_, offset);
    starts_[i] = offset;
    offset += parameters_[i].numel();
  }
}

std::int64_t Zero2Engine::owned_numel(std::size_t index, int rank) const {
  const std::int64_t begin = std::max(starts_[index], rank * part_numel_);
  const std::int64_t end = std::min(starts_[index] + parameters_[index].numel(), (rank + 1) * part_numel_);
  return std::max<std::int64_t>(0, end - begin);
}

int Zero2Engine::rank_with_most_gradients() const {
  std::vector<std::int64_t> kept(static_cast<std::size_t>(options_.ranks));
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (const Slice& slice : slices_of(i)) kept[static_cast<std::size_t>(slice.owner)] += parameters_[i].numel();
  return static_cast<int>(std::max_element(kept.begin(), kept.end()) - kept.begin());
}

void Zero2Engine::take_parts() {
  if (options_.rank == kMostGradients) options_.rank = rank_with_most_gradients();
  for (std::size_t i = 0; i < parameters_.size(); ++i) owned_numel_.push_back(owned_numel(i, options_.rank));
  Tensor part = clone(narrow(flat_, 0, options_.rank * part_numel_, part_numel_));
  masters_.push_back(to(part, DType::kFloat32));
  part.reset();
  masters_.front()->requires_grad = true;
}

// BackwardHookStateManager runs what follows the pass once it is over.
void Zero2Engine::backward(const Tensor& loss, bool is_last) {
  is_last_ = is_last;
  const Tensor share = div(loss, static_cast<double>(options_.passes));
  const Tensor scaled = mul(share, 1.0);
  tape::backward(scaled);
  const GradMode no_grad(tape_, false);
  end_pass();
}

void Zero2Engine::take_gradient(std::size_t index) {
  set_up_buckets();
  if (options_.stage == 2 || (options_.overlaps && is_last_)) add_to_bucket(index);
}

void Zero2Engine::set_up_buckets() {
  if (!buckets_.empty()) return;
  for (int i = 0; i < (options_.overlaps ? 2 : 1); ++i) {
    gradient_events_.push_back(tape_.events().size());
    buckets_.push_back(tape_.empty({options_.reduce_bucket_size}, parameters_.front().type()));
  }
  current_ = 0;
}

// reduce_independent_p_g_buckets_and_remove_grads: the gradient becomes a part of the bucket; one that is larger than
// the bucket stays where it is, and is reduced alone.
void Zero2Engine::add_to_bucket(std::size_t index) {
  const std::int64_t numel = parameters_[index].numel();
  if (filled_ + numel > options_.reduce_bucket_size) {
    reduce_bucket();
    if (options_.overlaps) current_ = 1 - current_;
  }
  Tensor gradient = parameters_[index].grad();
  if (numel <= options_.reduce_bucket_size) {
    set_data(gradient, buckets_[current_], filled_);
    tape_.count_kernel(2 * gradient.bytes());
  }
  filled_ += numel;
  in_bucket_.emplace_back(index, std::move(gradient));
}

void Zero2Engine::reduce_bucket() {
  if (filled_ > options_.reduce_bucket_size) {
    average_bucket(flattened(in_bucket_.front().second));
  } else {
    average_bucket(narrow(buckets_[current_], 0, 0, filled_));
  }
  const OnStream stream(tape_, options_.overlaps ? kReduceStream : 0);
  for (const auto& [index, gradient] : in_bucket_) {
    if (is_owned(index)) {
      keep_gradient(index);
    } else if (options_.stage == 2) {
      parameters_[index].set_grad({});
    }
  }
  in_bucket_.clear();
  filled_ = 0;
}

// A parameter's elements by the rank that has them.
std::vector<Zero2Engine::Slice> Zero2Engine::slices_of(std::size_t index) const {
  std::vector<Slice> slices;
  std::int64_t at = starts_[index];
  const std::int64_t end = at + parameters_[index].numel();
  while (at < end) {
    const std::int64_t owner = at / part_numel_;
    const std::int64_t until = std::min(end, (owner + 1) * part_numel_);
    slices.push_back({.owner = static_cast<int>(owner), .numel = until - at});
    at = until;
  }
  return slices;
}

std::vector<Zero2Engine::Slice> Zero2Engine::slices_of_bucket() const {
  std::vector<Slice> slices;
  for (const auto& [index, gradient] : in_bucket_)
    for (const Slice& slice : slices_of(index)) {
      if (!slices.empty() && slices.back().owner == slice.owner) {
        slices.back().numel += slice.numel;
      } else {
        slices.push_back(slice);
      }
    }
  return slices;
}

void Zero2Engine::average_bucket(const Tensor& bucket) {
  const OnStream stream(tape_, options_.overlaps ? kReduceStream : 0);
  tape_.count_kernel(2 * bucket.bytes());
  if (!options_.reduces_to_owner) return;
  std::vector<int> keys;  // in the order in which they come
  std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> groups;
  std::int64_t offset = 0;
  for (const Slice& slice : slices_of_bucket()) {
    const int key = options_.reduces_at_once ? 0 : slice.owner;
    const auto found = std::find(keys.begin(), keys.end(), key);
    const auto group = static_cast<std::size_t>(found - keys.begin());
    if (found == keys.end()) {
      keys.push_back(key);
      groups.emplace_back();
    }
    groups[group].emplace_back(offset, slice.numel);
    offset += slice.numel;
  }
  for (const auto& group : groups) reduce_slices(bucket, group);
}

// allreduce_and_scatter, allreduce_no_retain: slices in one flat tensor, so many at once that they exceed a bucket.
void Zero2Engine::reduce_slices(const Tensor& bucket,
                                const std::vector<std::pair<std::int64_t, std::int64_t>>& slices) {
  std::vector<Tensor> pieces;
  const auto reduce = [&pieces] {
    flattened(pieces).reset();
    pieces.clear();
  };
  std::int64_t numel = 0;
  for (const auto& [offset, length] : slices) {
    pieces.push_back(narrow(bucket, 0, offset, length));
    numel += length;
    if (numel <= options_.reduce_bucket_size) continue;
    reduce();
    numel = 0;
  }
  if (!pieces.empty()) reduce();
}

// copy_grads_in_partition: out of the bucket, which will be filled again.
void Zero2Engine::keep_gradient(std::size_t index) {
  if (!kept_gradients_.defined()) {
    std::int64_t numel = 0;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (is_owned(i)) numel += parameters_[i].numel();
    gradient_events_.push_back(tape_.events().size());
    kept_gradients_ = tape_.empty({numel}, parameters_.front().type());
    kept_numel_ = 0;
  }
  const Tensor gradient = parameters_[index].grad();
  set_data(gradient, kept_gradients_, kept_numel_);
  tape_.count_kernel(2 * gradient.bytes());
  kept_numel_ += gradient.numel();
}

// independent_gradient_partition_epilogue; stage 1 reduces gradients in the last pass only.
void Zero2Engine::end_pass() {
  if (options_.stage == 1 && !is_last_) return;
  if (options_.stage == 1 && !options_.overlaps)
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (parameters_[i]->grad != nullptr) add_to_bucket(i);
  reduce_bucket();
  const std::vector<Tensor> gradients = owned_gradients();
  if (sums_.empty()) {
    sums_ = gradients;
  } else {
    for (std::size_t i = 0; i < gradients.size(); ++i) add_(sums_[i], gradients[i]);
  }
  if (is_last_) {
    averaged_ = flat_part(sums_);
    sums_.clear();
  }
  buckets_.clear();
  kept_gradients_.reset();
  for (const Tensor& parameter : parameters_) parameter.set_grad({});
}

std::vector<Tensor> Zero2Engine::owned_gradients() const {
  std::vector<Tensor> gradients;
  for (const std::size_t i : order_)
    if (is_owned(i))
      gradients.push_back(parameters_[i]->grad != nullptr ? parameters_[i].grad() : zeros_like(parameters_[i]));
  return gradients;
}

// get_flat_partition
std::vector<Tensor> Zero2Engine::flat_part(const std::vector<Tensor>& gradients) const {
  std::vector<Tensor> pieces;
  std::int64_t numel = 0;
  const std::int64_t begin = options_.rank * part_numel_;
  std::size_t place = 0;
  for (const std::size_t i : order_) {
    if (!is_owned(i)) continue;
    const Tensor& gradient = gradients[place++];
    numel += owned_numel_[i];
    const std::int64_t skipped = std::max<std::int64_t>(0, begin - starts_[i]);
    pieces.push_back(owned_numel_[i] == gradient.numel() ? gradient
                                                         : narrow(flattened(gradient), 0, skipped, owned_numel_[i]));
  }
  if (numel < part_numel_) pieces.push_back(tape_.empty({part_numel_ - numel}, parameters_.front().type()));
  return pieces;
}

// Without what pads this rank's part.
std::span<const Tensor> Zero2Engine::owned_averages() const {
  const auto owned = std::count_if(owned_numel_.begin(), owned_numel_.end(), [](std::int64_t n) { return n > 0; });
  return std::span(averaged_).first(static_cast<std::size_t>(owned));
}

void Zero2Engine::step(Optimizer& optimizer) {
  const GradMode no_grad(tape_, false);
  if (options_.checks_overflow) check_overflow(averaged_);
  const Tensor norm = global_norm(tape_, owned_averages());
  if (options_.checks_overflow || flat_.type() != DType::kBFloat16) is_invalid(norm).reset();
  Tensor divided = div(norm, 1.0);
  {
    Tensor flat = flattened(averaged_);
    Tensor gradient = to(flat, DType::kFloat32);
    flat.reset();
    masters_.front().set_grad(std::move(gradient));
  }
  averaged_.clear();
  if (options_.clips) scale_by(norm);
  optimizer.step();
  masters_.front().set_grad({});
  tape_.count_kernel(flat_.bytes());
  gradient_norm_ = std::move(divided);
}

}  // namespace vramwise::tape
