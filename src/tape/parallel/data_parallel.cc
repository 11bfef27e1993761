// As torch/nn/parallel/distributed.py and torch/csrc/distributed/c10d/reducer.cpp of PyTorch 2.14 have it, with NCCL,
// whose finished collectives have let go of their tensors by the end of a step.

#include "tape/parallel/data_parallel.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <ranges>

#include "tape/ops/pointwise.h"

namespace vramwise::tape {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kBroadcastBytes = 250 * kMiB;
constexpr std::int64_t kBucketBytes = 25 * kMiB;
constexpr std::int64_t kFirstBucketBytes = kMiB;

using Indices = std::vector<std::size_t>;

// compute_bucket_assignment_by_size: a bucket holds one type, and is closed once it is as large as its limit. `limits`
// are those of a type's first buckets; the last one is that of all others.
std::vector<Indices> assigned(const std::vector<Tensor>& tensors, const Indices& order,
                              const std::vector<std::int64_t>& limits) {
  struct Open {
    DType type;
    Indices indices;
    std::int64_t bytes = 0;
    std::size_t limit = 0;
  };
  std::vector<Open> open;
  std::vector<Indices> closed;
  for (const std::size_t i : order) {
    const DType type = tensors[i].type();
    auto found = std::find_if(open.begin(), open.end(), [type](const Open& each) { return each.type == type; });
    if (found == open.end()) found = open.insert(found, {.type = type, .indices = {}});
    found->indices.push_back(i);
    found->bytes += tensors[i].bytes();
    if (found->bytes < limits[found->limit]) continue;
    closed.push_back(std::exchange(found->indices, {}));
    found->bytes = 0;
    if (found->limit + 1 < limits.size()) ++found->limit;
  }
  // What is still open comes out of a hash table that hands out the newest first.
  for (auto& each : open | std::views::reverse)
    if (!each.indices.empty()) closed.push_back(std::move(each.indices));
  return closed;
}

Indices in_order(std::size_t count) {
  Indices order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  return order;
}

std::vector<Indices> assigned_in_order(const std::vector<Tensor>& tensors, std::int64_t limit) {
  std::vector<Indices> found = assigned(tensors, in_order(tensors.size()), {limit});
  std::sort(found.begin(), found.end(), [](const Indices& a, const Indices& b) { return a.front() < b.front(); });
  return found;
}

}  // namespace

struct DataParallel::Hook final : GradientHook {
  Hook(DataParallel& parallel, std::size_t number) : owner(parallel), index(number) {}
  void run(const Node&, bool) override { owner.take_gradient(index); }

  DataParallel& owner;
  std::size_t index;
};

DataParallel::DataParallel(Tape& tape, const std::vector<Tensor>& parameters, std::vector<Tensor> buffers,
                           const DataParallelOptions& options)
    : tape_(tape), options_(options), buffers_(std::move(buffers)) {
  for (const Tensor& parameter : parameters)
    if (parameter->requires_grad) trained_.push_back(parameter);
  verify_shapes();
  std::vector<Tensor> states = parameters;
  states.insert(states.end(), buffers_.begin(), buffers_.end());
  broadcast(states);
  std::vector<Indices> first = assigned_in_order(trained_, std::numeric_limits<std::int64_t>::max());
  std::reverse(first.begin(), first.end());
  make_buckets(first);
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    accumulators_.push_back(gradient_edge(trained_[i]));
    hooks_.push_back(std::make_unique<Hook>(*this, i));
    accumulators_.back().node->hook = hooks_.back().get();
  }
}

DataParallel::~DataParallel() {
  for (const Edge& edge : accumulators_) {
    edge.node->hook = nullptr;
    Node::drop(edge.node);
  }
}

// verify_params_across_processes: all ranks' numbers of parameters, then sizes and strides of all parameters.
void DataParallel::verify_shapes() {
  const Tensor count = tape_.empty({1}, DType::kInt64);
  std::vector<Tensor> counts;
  counts.reserve(static_cast<std::size_t>(options_.ranks));
  for (int i = 0; i < options_.ranks; ++i) counts.push_back(tape_.empty({1}, DType::kInt64));
  tape_.empty({options_.ranks}, DType::kInt64).reset();
  std::int64_t numbers = 0;
  for (const Tensor& parameter : trained_) numbers += std::int64_t{2} * parameter.rank();
  tape_.empty({numbers}, DType::kInt64).reset();
}

// broadcast_coalesced: each bucket in a flat tensor, two of them at a time.
void DataParallel::broadcast(const std::vector<Tensor>& tensors) {
  std::deque<Tensor> in_flight;
  for (const Indices& bucket : assigned_in_order(tensors, kBroadcastBytes)) {
    const Tensor& first = tensors[bucket.front()];
    std::int64_t numel = 0;
    for (const std::size_t i : bucket) numel += tensors[i].numel();
    in_flight.push_back(bucket.size() == 1 && first.is_contiguous() ? first : tape_.empty({numel}, first.type()));
    tape_.count_kernel(4 * numel * size_of(first.type()));
    if (in_flight.size() == 2) in_flight.pop_front();
  }
  while (!in_flight.empty()) in_flight.pop_front();
}

void DataParallel::make_buckets(const std::vector<Indices>& indices) {
  buckets_.clear();
  places_.assign(trained_.size(), {});
  for (const Indices& bucket : indices) {
    std::int64_t offset = 0;
    for (const std::size_t i : bucket) {
      places_[i] = {.bucket = buckets_.size(), .offset = offset};
      offset += trained_[i].numel();
    }
    bucket_events_.push_back(tape_.events().size());
    buckets_.push_back(tape_.empty({offset}, trained_[bucket.front()].type()));
  }
}

// The order of rank 0 is sent to all: the buckets' indices, and how many each has.
void DataParallel::rebuild_buckets() {
  has_rebuilt_ = true;
  has_unused_ = order_.size() < trained_.size();
  const std::vector<Indices> rebuilt = assigned(trained_, std::exchange(order_, {}), {kFirstBucketBytes, kBucketBytes});
  {
    const Tensor indices = tape_.empty({static_cast<std::int64_t>(trained_.size()) + 1}, DType::kInt32);
    const Tensor sizes = tape_.empty({static_cast<std::int64_t>(rebuilt.size())}, DType::kInt32);
  }
  make_buckets(rebuilt);
}

void DataParallel::before_forward(bool syncs) {
  syncs_ = syncs;
  if (!has_rebuilt_ && !order_.empty()) rebuild_buckets();
  if (std::exchange(syncs_buffers_, syncs) && !buffers_.empty()) broadcast(buffers_);
}

// autograd_hook: the gradient goes into its place in the bucket, and may become a view of it.
void DataParallel::take_gradient(std::size_t index) {
  if (!syncs_) return;
  if (!has_rebuilt_) order_.push_back(index);
  const Tensor& parameter = trained_[index];
  tape_.count_kernel(2 * parameter.bytes());
  if (!options_.gradients_are_views || parameter->grad == nullptr) return;
  const Place& place = places_[index];
  const Tensor& bucket = buckets_[place.bucket];
  if (parameter->grad->storage == bucket->storage) return;
  parameter.set_grad(tape_.alias(bucket, parameter.sizes(), parameter.strides(), place.offset));
}

}  // namespace vramwise::tape
