// Engine: replicas, optimizer and loss scale: makes one training step, or one evaluation. It knows no files, no
// schedule and no clock.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/token_source.h"
#include "run/run_spec.h"
#include "train/flat_parameters.h"
#include "train/hooks.h"
#include "train/loss_scaler.h"
#include "train/optimizer.h"
#include "train/replica.h"
#include "train/worker_threads.h"

namespace vramwise {

struct StepRequest {
  std::int64_t step = 1;
  double learning_rate = 0;
  SequenceBatch batch;  ///< the effective batch: effective_batch_size() sequences
};

struct StepOutcome {
  double loss = 0;       ///< nats a token, over the whole effective batch
  double grad_norm = 0;  ///< before clipping
  bool skipped = false;  ///< gradients were not finite, so nothing was updated
  /// A signal to stop came before the update, so this step was not made: everything is as before it.
  bool interrupted = false;
};

/// Memory ran out, and the work is repeated with half the micro-batch.
struct OutOfMemoryEvent {
  std::int64_t step = 0;
  bool evaluation = false;
  std::size_t replica = 0;
  std::int64_t old_micro_batch = 0;
  std::int64_t new_micro_batch = 0;
  std::string message = {};
};

class Engine {
 public:
  using OnOutOfMemory = std::function<void(const OutOfMemoryEvent&)>;

  /// Takes the memory that lasts: weights, gradients, optimizer states. Weights are not filled. Errors: a device that
  /// does not work; it does not fit (kDoesNotFit).
  static Result<std::unique_ptr<Engine>> create(const RunSpec& spec, TrainerHooks hooks,
                                                OnOutOfMemory on_out_of_memory);

  /// A fresh start from `seed`: the same on every device.
  void initialize_weights(std::uint64_t seed);

  /// To be called after weights or a master copy were filled from outside: makes all copies agree.
  void weights_were_loaded();

  /// Accumulates, sums over replicas, clips and updates. Where memory runs out before the update, that replica's
  /// micro-batch is halved and the step is made again; where it runs out within the update the run is over. Errors: out
  /// of memory with micro-batch 1 (kDoesNotFit); a device failed; too many steps in a row overflowed (kWorld).
  Result<StepOutcome> step(const StepRequest& request);

  /// Mean negative log-likelihood (nats a token); absent: a signal to stop came. Errors as for step(). Where memory
  /// runs out, only the batch of evaluations is halved.
  Result<std::optional<double>> evaluate(std::int64_t step, const SequenceBatch& batch);

  const FlatLayout& layout() const { return layout_; }
  Replica& first() { return *replicas_.front(); }
  Optimizer& optimizer() { return *optimizer_; }
  LossScaler& scaler() { return scaler_; }

  /// Optimizer updates made, skipped steps left out.
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t updates) { updates_ = updates; }

  std::vector<std::int64_t> micro_batches() const { return micro_batches_; }
  void set_micro_batches(std::vector<std::int64_t> sizes) { micro_batches_ = std::move(sizes); }

 private:
  Engine(const RunSpec& spec, TrainerHooks hooks, OnOutOfMemory on_out_of_memory);
  Status build(const std::vector<torch::Device>& devices);
  /// Runs `job` for every replica, each on its thread; replicas stop before their next micro-batch when a signal comes.
  struct Pass {
    std::optional<double> nll_sum;  ///< absent: interrupted, or some failed
    bool interrupted = false;
    std::vector<std::exception_ptr> failures;  ///< a replica each
  };
  Result<Pass> run_replicas(const std::function<Result<double>(std::size_t replica, const BeforeMicroBatch&)>& job,
                            const std::function<void(const MicroBatchPoint&)>& hook, std::int64_t step);
  /// Sum of the log-likelihoods; absent: interrupted.
  Result<std::optional<double>> accumulate(const StepRequest& request);
  /// Sums gradients over replicas and returns their norm; nullopt: memory ran out, and micro-batches were halved.
  Result<std::optional<double>> sum_over_replicas(const StepRequest& request);
  Result<StepOutcome> update(const StepRequest& request, double nll_sum, double scaled_norm);
  Status halve_after_failures(const std::vector<std::exception_ptr>& failures, std::int64_t step);
  Status after_failures(const std::vector<std::exception_ptr>& failures, std::vector<std::int64_t>& sizes,
                        OutOfMemoryEvent event);
  std::vector<SequenceBatch> shares(const SequenceBatch& batch) const;

  RunSpec spec_;
  TrainerHooks hooks_;
  OnOutOfMemory on_out_of_memory_;
  FlatLayout layout_;
  LossScaler scaler_;
  WorkerThreads workers_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::int64_t> micro_batches_;  ///< a replica each; halved where memory ran out
  std::vector<std::int64_t> eval_batches_;
  std::int64_t updates_ = 0;
};

}  // namespace vramwise
