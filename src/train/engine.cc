// Only the first replica has an optimizer. The others send it their gradients and receive its weights, so replicas
// cannot drift apart, be they cards of different generations whose kernels round differently; and nobody but the first
// holds optimizer states.
#include "train/engine.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "base/check.h"
#include "train/devices.h"
#include "train/out_of_memory.h"
#include "train/random_state.h"

namespace vramwise {
namespace {

constexpr const char* kSmallerRun =
    "Take a smaller --seq_len or model, recompute all blocks (--checkpointing), move optimizer states off the device "
    "(--cpu_offload), or plan for less with a larger --vram_safety_margin.";

/// Thrown by a replica that was to stop.
struct Interrupted : std::exception {};

bool is_interruption(const std::exception_ptr& failure) {
  if (!failure) return false;
  try {
    std::rethrow_exception(failure);
  } catch (const Interrupted&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::vector<std::int64_t> planned_micro_batches(const RunSpec& spec) {
  std::vector<std::int64_t> sizes;
  sizes.reserve(spec.replicas.size());
  for (const ReplicaSpec& replica : spec.replicas) sizes.push_back(replica.micro_batch);
  return sizes;
}

Result<double> total(const std::vector<Result<double>>& parts) {
  double sum = 0;
  for (const Result<double>& part : parts) {
    VRAMWISE_ASSIGN_OR_RETURN(const double value, part);
    sum += value;
  }
  return sum;
}

Error torch_failed(const std::string& where, const std::exception_ptr& failure) {
  return world_error(where + " failed: " + describe_exception(failure));
}

}  // namespace

Engine::Engine(const RunSpec& spec, TrainerHooks hooks, OnOutOfMemory on_out_of_memory)
    : spec_(spec),
      hooks_(std::move(hooks)),
      on_out_of_memory_(std::move(on_out_of_memory)),
      layout_(spec.model),
      scaler_(spec.step.precision),
      workers_(spec.replicas.size()),
      micro_batches_(planned_micro_batches(spec)),
      eval_batches_(micro_batches_) {}

Result<std::unique_ptr<Engine>> Engine::create(const RunSpec& spec, TrainerHooks hooks,
                                               OnOutOfMemory on_out_of_memory) {
  std::vector<torch::Device> devices;
  devices.reserve(spec.replicas.size());
  for (const ReplicaSpec& replica : spec.replicas) {
    VRAMWISE_ASSIGN_OR_RETURN(const torch::Device device, open_device(replica.device));
    devices.push_back(device);
  }
  std::unique_ptr<Engine> engine(new Engine(spec, std::move(hooks), std::move(on_out_of_memory)));
  try {
    VRAMWISE_RETURN_IF_ERROR(engine->build(devices));
  } catch (const std::exception&) {
    const std::exception_ptr failure = std::current_exception();
    if (!is_out_of_memory(failure)) return torch_failed("building the model", failure);
    return does_not_fit("weights, gradients and optimizer states do not fit: " + describe_exception(failure),
                        kSmallerRun);
  }
  return engine;
}

Status Engine::build(const std::vector<torch::Device>& devices) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const StepSettings settings = spec_.settings_of(spec_.replicas[i]);
    replicas_.push_back(std::make_unique<Replica>(spec_.model, layout_, settings, devices[i]));
  }
  VRAMWISE_ASSIGN_OR_RETURN(optimizer_, make_optimizer(layout_, first().flat(), spec_.optimizer,
                                                       {spec_.step.offload_optimizer, spec_.out_dir}));
  return Done{};
}

void Engine::initialize_weights(std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor& master = optimizer_->state().master;
  const torch::Tensor& target = master.defined() ? master : first().flat().weights;
  // Drawn on the CPU, in fp32: the same start on every device and in every precision.
  const torch::Tensor drawn = target.is_cpu() ? target : make_flat(layout_, torch::kFloat, torch::kCPU);
  initialize(spec_.model, layout_.views(drawn), at::detail::createCPUGenerator(seed));
  if (!target.is_cpu()) target.copy_(drawn);
  weights_were_loaded();
}

void Engine::weights_were_loaded() {
  optimizer_->weights_from_master();
  optimizer_->release_pages();
  copy_weights(replicas_);
}

std::vector<SequenceBatch> Engine::shares(const SequenceBatch& batch) const {
  // As planned, or in proportion to the planned micro-batches, whatever became of those: who computes a sequence must
  // not depend on whether memory ran out before.
  const bool planned = std::any_of(spec_.replicas.begin(), spec_.replicas.end(),
                                   [](const ReplicaSpec& replica) { return replica.sequences > 0; });
  const auto weight_of = [&](const ReplicaSpec& replica) { return planned ? replica.sequences : replica.micro_batch; };
  const auto total = static_cast<std::int64_t>(batch.starts.size());
  std::int64_t weight_sum = 0;
  for (const ReplicaSpec& replica : spec_.replicas) weight_sum += weight_of(replica);
  VRAMWISE_CHECK(weight_sum > 0);
  std::vector<SequenceBatch> shares;
  shares.reserve(spec_.replicas.size());
  std::int64_t weight = 0;
  std::int64_t begin = 0;
  for (const ReplicaSpec& replica : spec_.replicas) {
    weight += weight_of(replica);
    const std::int64_t end = total * weight / weight_sum;
    shares.push_back(
        {batch.tokens, batch.starts.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))});
    begin = end;
  }
  return shares;
}

Status Engine::after_failures(const std::vector<std::exception_ptr>& failures, std::vector<std::int64_t>& sizes,
                              OutOfMemoryEvent event) {
  for (std::size_t i = 0; i < failures.size(); ++i) {
    if (!failures[i]) continue;
    const std::string& device = spec_.replicas[i].device;
    if (!is_out_of_memory(failures[i])) return torch_failed("computing on " + device, failures[i]);
    event.message = describe_exception(failures[i]);
    if (sizes[i] == 1) {
      return does_not_fit(c10::str(device, " is out of memory in ", event.evaluation ? "the evaluation after " : "",
                                   "step ", event.step, ", with a single sequence at a time: ", event.message),
                          kSmallerRun);
    }
    event.replica = i;
    event.old_micro_batch = sizes[i];
    event.new_micro_batch = sizes[i] = sizes[i] / 2;
    if (on_out_of_memory_) on_out_of_memory_(event);
  }
  release_cached_memory();
  return Done{};
}

Result<Engine::Pass> Engine::run_replicas(
    const std::function<Result<double>(std::size_t replica, const BeforeMicroBatch&)>& job,
    const std::function<void(const MicroBatchPoint&)>& hook, std::int64_t step) {
  std::vector<Result<double>> sums(replicas_.size(), 0.0);
  Pass pass;
  pass.failures = workers_.run([&](std::size_t i) {
    sums[i] = job(i, [&](std::int64_t index, std::int64_t sequences) {
      if (hooks_.stop_signal && hooks_.stop_signal() != 0) throw Interrupted();
      if (hook) hook({step, i, index, sequences});
    });
  });
  pass.interrupted = std::any_of(pass.failures.begin(), pass.failures.end(), is_interruption);
  if (std::any_of(pass.failures.begin(), pass.failures.end(), [](const auto& failure) { return failure != nullptr; }))
    return pass;
  VRAMWISE_ASSIGN_OR_RETURN(pass.nll_sum, total(sums));
  return pass;
}

Status Engine::halve_after_failures(const std::vector<std::exception_ptr>& failures, std::int64_t step) {
  for (const auto& replica : replicas_) replica->clear_gradients();
  return after_failures(failures, micro_batches_, {.step = step});
}

Result<std::optional<double>> Engine::accumulate(const StepRequest& request) {
  const std::vector<SequenceBatch> batches = shares(request.batch);
  const double tokens = static_cast<double>(request.batch.starts.size()) * static_cast<double>(spec_.step.seq_len);
  const double scale = scaler_.scale() / tokens;
  const RandomState random_state = RandomState::capture(spec_.replicas);
  for (;;) {
    VRAMWISE_ASSIGN_OR_RETURN(const Pass pass, run_replicas(
                                                   [&](std::size_t i, const BeforeMicroBatch& before) {
                                                     return replicas_[i]->accumulate(batches[i], micro_batches_[i],
                                                                                     scale, before);
                                                   },
                                                   hooks_.before_micro_batch, request.step));
    if (pass.nll_sum) return pass.nll_sum;
    random_state.restore();
    if (pass.interrupted) {
      for (const auto& replica : replicas_) replica->clear_gradients();
      return std::optional<double>();
    }
    VRAMWISE_RETURN_IF_ERROR(halve_after_failures(pass.failures, request.step));
  }
}

Result<std::optional<double>> Engine::sum_over_replicas(const StepRequest& request) {
  try {
    sum_gradients(replicas_);
    const torch::Tensor gradients = first().flat().gradients;
    if (hooks_.after_gradients) hooks_.after_gradients(request.step, gradients);
    return std::optional<double>(flat_norm(gradients));
  } catch (const std::exception&) {
    // Weights and states are untouched, so the step can be made again. What is short is memory of the first replica.
    std::vector<std::exception_ptr> failures(replicas_.size());
    failures.front() = std::current_exception();
    VRAMWISE_RETURN_IF_ERROR(halve_after_failures(failures, request.step));
    return std::optional<double>();
  }
}

Result<StepOutcome> Engine::update(const StepRequest& request, double nll_sum, double scaled_norm) {
  const double tokens = static_cast<double>(request.batch.starts.size()) * static_cast<double>(spec_.step.seq_len);
  const double scale = scaler_.scale();
  StepOutcome outcome{.loss = nll_sum / tokens, .grad_norm = scaled_norm / scale};
  outcome.skipped = !std::isfinite(scaled_norm);
  const bool hopeful = scaler_.update(outcome.skipped);
  if (!outcome.skipped) {
    double divisor = scale;
    const double most = spec_.optimizer.max_grad_norm;
    if (most > 0 && outcome.grad_norm > most) divisor *= outcome.grad_norm / most;
    optimizer_->step({++updates_, request.learning_rate, divisor});
    copy_weights(replicas_);
  }
  for (const auto& replica : replicas_) replica->clear_gradients();
  if (hopeful) return outcome;
  return world_error(c10::str("the gradients of ", LossScaler::kMostSkipped, " steps in a row were not finite (step ",
                              request.step, ")"),
                     "The run diverged. Take a lower learning rate, or bf16 or fp32 instead of fp16; --resume goes on "
                     "from the last checkpoint.");
}

Result<StepOutcome> Engine::step(const StepRequest& request) {
  const RandomState random_state = RandomState::capture(spec_.replicas);
  for (;;) {
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<double> nll_sum, accumulate(request));
    if (!nll_sum) return StepOutcome{.interrupted = true};
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<double> norm, sum_over_replicas(request));
    if (!norm) {
      random_state.restore();
      continue;
    }
    try {
      return update(request, *nll_sum, *norm);
    } catch (const std::exception&) {
      // Half an update cannot be taken back, so there is no second try here.
      const std::exception_ptr failure = std::current_exception();
      if (!is_out_of_memory(failure)) return torch_failed("the optimizer step", failure);
      return does_not_fit(
          c10::str("out of memory in the optimizer step ", request.step, ": ", describe_exception(failure)),
          kSmallerRun);
    }
  }
}

Result<std::optional<double>> Engine::evaluate(std::int64_t step, const SequenceBatch& batch) {
  const std::vector<SequenceBatch> batches = shares(batch);
  for (;;) {
    VRAMWISE_ASSIGN_OR_RETURN(const Pass pass, run_replicas(
                                                   [&](std::size_t i, const BeforeMicroBatch& before) {
                                                     return replicas_[i]->evaluate(batches[i], eval_batches_[i],
                                                                                   before);
                                                   },
                                                   hooks_.before_eval_batch, step));
    if (pass.interrupted) return std::optional<double>();
    if (pass.nll_sum) {
      const double sequences = static_cast<double>(batch.starts.size());
      return std::optional<double>(*pass.nll_sum / (sequences * static_cast<double>(spec_.step.seq_len)));
    }
    VRAMWISE_RETURN_IF_ERROR(after_failures(pass.failures, eval_batches_, {.step = step, .evaluation = true}));
  }
}

}  // namespace vramwise
