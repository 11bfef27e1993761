// As deepspeed/runtime/zero/stage3.py and runtime/comm/coalesced_collectives.py of DeepSpeed 0.19.8 have it, with one
// group of parameters, without offload.

#include "tape/parallel/zero3.h"

#include <algorithm>
#include <utility>

#include "tape/engine.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/parallel/deepspeed_norm.h"
#include "tape/parallel/on_stream.h"
#include "tape/parallel/set_data.h"

namespace vramwise::tape {
namespace {

constexpr StreamIndex kGatherStream = 1;
constexpr StreamIndex kReduceStream = 2;

}  // namespace

struct Zero3Engine::Hook final : GradientHook {
  Hook(Zero3Engine& engine, std::size_t number) : owner(engine), index(number) {}
  void run(const Node&, bool) override { owner.take_gradient(index); }

  Zero3Engine& owner;
  std::size_t index;
};

Zero3Engine::Zero3Engine(Tape& tape, std::unique_ptr<Zero3Parameters> parameters, const std::vector<Tensor>& listed,
                         const DeepSpeedOptions& options)
    : tape_(tape), options_(options), owned_parameters_(std::move(parameters)), parameters_(*owned_parameters_) {
  const GradMode no_grad(tape, false);
  // Ranks differ in nothing but what pads the last parts of sums.
  if (options_.rank == kMostGradients) options_.rank = options_.reduces_to_owner ? 0 : options_.ranks - 1;
  std::vector<std::size_t> order;
  order.reserve(listed.size());
  for (const Tensor& whole : listed) order.push_back(parameters_.index_of(whole));
  if (options_.has_fused_adam) overflow_flag_ = tape.empty({1}, DType::kInt32);
  mark_persistent(order);
  coordinator_.emplace(tape, parameters_, options_.zero3, options_.overlaps ? kGatherStream : StreamIndex{0});
  overflow_tracker_ = tape.empty({1}, DType::kBool);
  make_groups(order);
  defragment();
  make_masters();
  make_buckets();
  for (const auto& group : groups_)
    for (const std::size_t index : group) {
      parameters_.gather(parameters_[index]);
      accumulators_.push_back(gradient_edge(parameters_[index].whole));
      hooks_.push_back(std::make_unique<Hook>(*this, index));
      accumulators_.back().node->hook = hooks_.back().get();
      parameters_.partition(parameters_[index]);
    }
  tape.set_module_hooks(&*coordinator_);
}

Zero3Engine::~Zero3Engine() {
  tape_.set_module_hooks(nullptr);
  for (const Edge& edge : accumulators_) {
    edge.node->hook = nullptr;
    Node::drop(edge.node);
  }
}

// mark_persistent_parameters
void Zero3Engine::mark_persistent(const std::vector<std::size_t>& listed) {
  std::int64_t total = 0;
  for (const std::size_t index : listed) {
    Zero3Parameter& parameter = parameters_[index];
    if (parameter.numel + total > options_.zero3.model_persistence_threshold) continue;
    if (parameter.numel > options_.zero3.persistence_threshold) continue;
    parameter.persists = true;
    persistent_.push_back(index);
    total += parameter.numel;
  }
}

// _create_fp16_sub_groups
void Zero3Engine::make_groups(const std::vector<std::size_t>& listed) {
  std::vector<std::size_t> trained;
  std::int64_t all = 0;
  for (const std::size_t index : listed) {
    if (!parameters_[index].whole->requires_grad) continue;
    trained.push_back(index);
    all += parameters_[index].part_numel;
  }
  if (options_.zero3.sub_group_size >= all) {
    groups_.push_back(std::move(trained));
    return;
  }
  std::int64_t numel = 0;
  for (const std::size_t index : trained) {
    if (numel == 0) groups_.emplace_back();
    groups_.back().push_back(index);
    numel += parameters_[index].part_numel;
    if (numel >= options_.zero3.sub_group_size) numel = 0;
  }
}

// Parts go to the host and come back in one piece.
void Zero3Engine::defragment() {
  std::int64_t numel = 0;
  for (const auto& group : groups_)
    for (const std::size_t index : group) {
      numel += parameters_[index].part_numel;
      parameters_[index].part.reset();
    }
  tape_.empty_cache();
  flat_ = tape_.empty({numel}, parameters_.type());
  std::int64_t offset = 0;
  for (const auto& group : groups_)
    for (const std::size_t index : group) {
      parameters_[index].part = narrow(flat_, 0, offset, parameters_[index].part_numel);
      offset += parameters_[index].part_numel;
    }
}

// _create_fp32_partitions, initialize_optimizer_states
void Zero3Engine::make_masters() {
  std::int64_t most = 0;
  {
    Tensor converted;  // the loop's name keeps it until the next one is there
    std::int64_t offset = 0;
    for (const auto& group : groups_) {
      std::int64_t numel = 0;
      for (const std::size_t index : group) numel += parameters_[index].part_numel;
      converted = to(narrow(flat_, 0, offset, numel), DType::kFloat32);
      masters_.push_back(clone(converted));
      masters_.back()->requires_grad = true;
      offset += numel;
      most = std::max(most, numel);
    }
  }
  tape_.empty({most}, DType::kFloat32).reset();
}

void Zero3Engine::make_buckets() {
  if (options_.copies_gradients) {
    gradient_events_.push_back(tape_.events().size());
    bucket_ = tape_.empty({options_.reduce_bucket_size}, parameters_.type());
  }
  gradient_events_.push_back(tape_.events().size());
  gradients_ = tape_.empty({flat_.numel()}, parameters_.type());
  starts_.resize(parameters_.size());
  std::int64_t offset = 0;
  for (const auto& group : groups_)
    for (const std::size_t index : group) {
      starts_[index] = offset;
      offset += parameters_[index].part_numel;
    }
}

// independent_gradient_partition_epilogue, then backward_epilogue
void Zero3Engine::backward(const Tensor& loss, bool) {
  const Tensor share = div(loss, static_cast<double>(options_.passes));
  const Tensor scaled = mul(share, 1.0);
  tape::backward(scaled);
  const GradMode no_grad(tape_, false);
  reduce_bucket();
  coordinator_->release_leftovers();
}

// reduce_independent_p_g_buckets_and_remove_grads: the gradient becomes a part of the bucket; one that is larger than
// the bucket stays where it is.
void Zero3Engine::take_gradient(std::size_t index) {
  const std::int64_t numel = parameters_[index].numel;
  if (filled_ > 0 && filled_ + numel > options_.reduce_bucket_size) reduce_bucket();
  if (options_.copies_gradients && filled_ + numel <= options_.reduce_bucket_size) {
    Tensor gradient = parameters_[index].whole.grad();
    tape_.record_stream(*gradient->storage, options_.overlaps ? kReduceStream : StreamIndex{0});
    set_data(gradient, bucket_, filled_);
    tape_.count_kernel(2 * gradient.bytes());
  }
  in_bucket_.push_back(index);
  filled_ += numel;
}

// __reduce_and_partition_ipg_grads
void Zero3Engine::reduce_bucket() {
  if (in_bucket_.empty()) return;
  const GradMode no_grad(tape_, false);
  const OnStream stream(tape_, options_.overlaps ? kReduceStream : StreamIndex{0});
  const bool is_sum = options_.copies_gradients && filled_ <= options_.reduce_bucket_size && !options_.reduces_to_owner;
  if (!is_sum) std::ranges::sort(in_bucket_);
  keep(is_sum ? cut_out_of_sum() : scattered());
  in_bucket_.clear();
  filled_ = 0;
}

/// Of a parameter's part on this rank, what is not padding.
std::int64_t Zero3Engine::owned_numel(std::size_t index) const {
  const Zero3Parameter& parameter = parameters_[index];
  return std::clamp<std::int64_t>(parameter.numel - options_.rank * parameter.part_numel, 0, parameter.part_numel);
}

// reduce_scatter_coalesced: the gradients' parts by rank, padded, in one tensor; of one gradient without padding, its
// own memory.
std::vector<Tensor> Zero3Engine::scattered() {
  std::int64_t numel = 0;
  for (const std::size_t index : in_bucket_) numel += parameters_[index].part_numel;
  const Zero3Parameter& first = parameters_[in_bucket_.front()];
  const Tensor first_gradient = first.whole.grad();
  Tensor flat = tape_.alias(first_gradient, {first.numel}, {1}, first_gradient->offset);
  if (in_bucket_.size() > 1 || first.numel % parameters_.ranks() != 0) {
    std::vector<Tensor> padding;
    for (int rank = 0; rank < parameters_.ranks(); ++rank)
      for (const std::size_t index : in_bucket_) {
        const std::int64_t part = parameters_[index].part_numel;
        const std::int64_t missing = part - std::clamp<std::int64_t>(parameters_[index].numel - rank * part, 0, part);
        if (missing > 0) padding.push_back(tape_.empty({missing}, first.whole.type()));
      }
    flat = tape_.empty({numel * parameters_.ranks()}, first.whole.type());
    tape_.count_kernel(2 * flat.bytes());
  }
  tape_.count_kernel(2 * flat.bytes());
  std::vector<Tensor> pieces;
  std::int64_t offset = options_.rank * numel;
  for (const std::size_t index : in_bucket_) {
    pieces.push_back(tape_.alias(flat, {owned_numel(index)}, {1}, flat->offset + offset));
    offset += parameters_[index].part_numel;
  }
  return pieces;
}

// __avg_scatter_contiguous_grads: the bucket's sum over all ranks, of which each cuts out its parts.
std::vector<Tensor> Zero3Engine::cut_out_of_sum() {
  const Tensor sum = mul(narrow(bucket_, 0, 0, filled_), 1.0);
  std::vector<Tensor> pieces;
  for (const std::size_t index : in_bucket_) {
    const Zero3Parameter& parameter = parameters_[index];
    const std::int64_t owned = owned_numel(index);
    pieces.push_back(owned == parameter.part_numel ? tape_.alias(sum, {owned}, {1}, sum->offset)
                                                   : tape_.empty({parameter.part_numel}, parameter.whole.type()));
  }
  return pieces;
}

// partition_grads
void Zero3Engine::keep(const std::vector<Tensor>& pieces) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Tensor& whole = parameters_[in_bucket_[i]].whole;
    tape_.count_kernel(2 * pieces[i].bytes());
    tape_.record_stream(*whole.grad()->storage, tape_.stream());
    whole.set_grad({});
  }
}

bool Zero3Engine::is_at_rest() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Zero3Parameter& parameter = parameters_[i];
    const bool rests = parameter.is_partitioned() || (parameter.is_whole() && parameter.persists);
    if (!rests || !parameter.users.empty()) return false;
  }
  return true;
}

std::vector<AllocationId> Zero3Engine::persistent_ids() const {
  std::vector<AllocationId> ids;
  for (const std::size_t index : persistent_)
    if (parameters_[index].is_whole()) ids.push_back(parameters_[index].whole->storage->id);
  return ids;
}

std::vector<Tensor> Zero3Engine::gradients_of(std::size_t group) const {
  std::vector<Tensor> gradients;
  for (const std::size_t index : groups_[group])
    gradients.push_back(narrow(gradients_, 0, starts_[index], parameters_[index].part_numel));
  return gradients;
}

void Zero3Engine::step(Optimizer& optimizer) {
  const GradMode no_grad(tape_, false);
  coordinator_->partition_all();
  if (parameters_.type() == DType::kFloat16) {
    const OnStream stream(tape_, options_.overlaps ? kReduceStream : StreamIndex{0});
    check_overflow_at_once(gradients_);
  }
  std::vector<Tensor> norms;
  norms.reserve(groups_.size());
  for (std::size_t group = 0; group < groups_.size(); ++group) norms.push_back(norm_in_float64(gradients_of(group)));
  const Tensor norm = combined_norm(norms);
  is_invalid(norm).reset();
  const Tensor before = std::exchange(gradient_norm_, div(norm, 1.0));  // the engine has it still
  for (std::size_t group = 0; group < groups_.size(); ++group) {
    Tensor flat = flattened(gradients_of(group));
    masters_[group].set_grad(to(flat, DType::kFloat32));
    flat.reset();
    if (options_.clips) clip_by(norm);
    optimizer.step();
    tape_.count_kernel(masters_[group].bytes());
    masters_[group].set_grad({});
  }
  for (const std::size_t index : persistent_) parameters_.gather(parameters_[index]);
}

}  // namespace vramwise::tape
