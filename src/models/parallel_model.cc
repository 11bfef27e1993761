// model.to(device) and DistributedDataParallel(model), or fully_shard(layer) for each layer and fully_shard(model) of a
// model that was built on the host.

#include "models/parallel_model.h"

#include <algorithm>

#include "tape/optim/optimizer.h"
#include "tape/parallel/zero3.h"

namespace vramwise {

namespace {

using MixedPrecision = tape::FullyShardOptions::MixedPrecision;

std::optional<MixedPrecision> mixed_precision(DType computed, const ParallelOptions& parallel) {
  if (parallel.stored == computed) return std::nullopt;
  return MixedPrecision{.stored = parallel.stored, .computed = computed, .reduced = parallel.reduced};
}

}  // namespace

ParallelModel::ParallelModel(tape::Tape& tape, const Architecture& architecture, DType type, ForwardOptions options,
                             const ParallelOptions& parallel) {
  if (parallel.kind == Parallel::kFullyShard) {
    sharded_ = std::make_unique<tape::FullyShard>(
        tape, tape::FullyShardOptions{.ranks = parallel.ranks,
                                      .mixed = mixed_precision(type, parallel),
                                      .offloads = parallel.offloads,
                                      .reshards_after_forward = parallel.reshards_after_forward});
    options.hooks = sharded_.get();
    options.stored = parallel.stored;
    tape.set_builds_on_host(true);
    model_ = architecture.make(tape, type, options);
    tape.set_builds_on_host(false);
    shard(architecture);
    return;
  }
  if (parallel.kind == Parallel::kDeepSpeed && parallel.deepspeed.stage == 3) {
    start_zero3(tape, architecture, type, std::move(options), parallel);
    return;
  }
  has_parts_ = parallel.kind == Parallel::kTensor;
  if (has_parts_) options.tensor_sharing = {.plan = architecture.tensor_plan, .ranks = parallel.ranks};
  model_ = architecture.make(tape, type, options);
  if (parallel.kind == Parallel::kDeepSpeed) start_engine(tape, parallel);
  if (parallel.kind != Parallel::kDataParallel) return;
  std::vector<Tensor> buffers;
  for (const NamedParameter& buffer : model_->named_buffers()) buffers.push_back(buffer.tensor);
  data_parallel_ = std::make_unique<tape::DataParallel>(
      tape, model_->parameters(), std::move(buffers),
      tape::DataParallelOptions{.ranks = parallel.ranks, .gradients_are_views = parallel.gradients_are_views});
  if (parallel.shares_states) share_states(parallel.ranks);
}

void ParallelModel::shard(const Architecture& architecture) {
  named_shards_ = model_->named_parameters();
  for (int layer = 0; layer <= architecture.layers; ++layer) {
    const int number = layer < architecture.layers ? layer : -1;  // the model's own come last
    std::vector<std::size_t> places;
    std::vector<Tensor> parameters;
    std::vector<Tensor> buffers;
    for (std::size_t i = 0; i < named_shards_.size(); ++i)
      if (named_shards_[i].layer == number) places.push_back(i);
    std::sort(places.begin(), places.end(),
              [this](std::size_t a, std::size_t b) { return named_shards_[a].made < named_shards_[b].made; });
    parameters.reserve(places.size());
    for (const std::size_t place : places) parameters.push_back(named_shards_[place].tensor);
    for (const NamedParameter& buffer : model_->named_buffers())
      if (buffer.layer == number) buffers.push_back(buffer.tensor);
    const std::vector<Tensor> shards =
        number < 0 ? sharded_->add_model(parameters, buffers) : sharded_->add_layer(parameters, buffers);
    for (std::size_t i = 0; i < places.size(); ++i) named_shards_[places[i]].tensor = shards[i];
  }
  for (const NamedParameter& each : named_shards_) shards_.push_back(each.tensor);
}

Tensor ParallelModel::loss(const Batch& batch, bool syncs) {
  if (data_parallel_) data_parallel_->before_forward(syncs);
  if (engine_) engine_->before_forward();
  if (!sharded_) return model_->loss(batch);
  Batch seen;
  for (const Tensor& input : batch) seen.push_back(sharded_->argument(input));
  sharded_->before_model();
  Tensor loss = model_->loss(seen);
  sharded_->after_model(loss);
  return loss;
}

void ParallelModel::start_engine(tape::Tape& tape, const ParallelOptions& parallel) {
  tape::DeepSpeedOptions options = parallel.deepspeed;
  options.ranks = parallel.ranks;
  engine_ = std::make_unique<tape::Zero2Engine>(tape, model_->parameters(), options);
  note_masters();
}

// from_pretrained() and deepspeed.initialize(), as transformers' Trainer has it.
void ParallelModel::start_zero3(tape::Tape& tape, const Architecture& architecture, DType type, ForwardOptions options,
                                const ParallelOptions& parallel) {
  auto parameters = std::make_unique<tape::Zero3Parameters>(tape, parallel.ranks);
  options.init = parameters.get();
  model_ = architecture.make(tape, type, options);
  parameters->load();
  tape::DeepSpeedOptions zero = parallel.deepspeed;
  zero.ranks = parallel.ranks;
  engine_ = std::make_unique<tape::Zero3Engine>(tape, std::move(parameters), model_->parameters(), zero);
  note_masters();
}

void ParallelModel::note_masters() {
  for (const Tensor& master : engine_->masters()) share_.push_back({.name = "flat", .layer = -1, .tensor = master});
}

// ZeroRedundancyOptimizer._partition_parameters: the largest first, each to the rank that has least. This is rank 0's.
void ParallelModel::share_states(int ranks) {
  std::vector<NamedParameter> sorted = model_->named_parameters();
  std::stable_sort(sorted.begin(), sorted.end(), [](const NamedParameter& a, const NamedParameter& b) {
    return a.tensor.numel() > b.tensor.numel();
  });
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(ranks));
  for (const NamedParameter& parameter : sorted) {
    const auto least = std::min_element(sizes.begin(), sizes.end());
    *least += parameter.tensor.numel();
    if (least == sizes.begin()) share_.push_back(parameter);
  }
}

const std::vector<NamedParameter>& ParallelModel::optimized() const {
  if (!share_.empty()) return share_;
  return has_shards() ? named_shards_ : model_->named_parameters();
}

const std::vector<Tensor>& ParallelModel::parameters() const { return has_shards() ? shards_ : model_->parameters(); }

void ParallelModel::clip_gradients() const {
  if (!has_parts_) return tape::clip_grad_norm(parameters(), has_shards());
  std::vector<tape::ClippedParameter> clipped;
  for (const NamedParameter& parameter : model_->named_parameters())
    clipped.push_back({.tensor = parameter.tensor,
                       .is_distributed = parameter.distribution != Distribution::kPlain,
                       .is_replicated = parameter.distribution == Distribution::kReplicated});
  tape::clip_mixed_grad_norm(clipped);
}

std::vector<std::size_t> ParallelModel::gathered() const {
  if (engine_) return engine_->gathered();
  return sharded_ ? sharded_->gathered() : std::vector<std::size_t>();
}

std::vector<std::size_t> ParallelModel::buckets() const {
  if (engine_) return engine_->gradient_events();
  return data_parallel_ ? data_parallel_->bucket_events() : std::vector<std::size_t>();
}

}  // namespace vramwise
