// DeepSpeed's engine with ZeRO-3: parameters, gradients, their float32 copies and the optimizer's states are all shared
// out. Gradients are copied into a bucket; when it is full, each rank gets its parts of their sums.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tape/node.h"
#include "tape/parallel/deepspeed.h"
#include "tape/parallel/zero3_coordinator.h"
#include "tape/parallel/zero3_parameters.h"

namespace vramwise::tape {

class Zero3Engine final : public DeepSpeedEngine {
 public:
  /// deepspeed.initialize() of a model whose parameters are `parameters`, listed as model.parameters() lists them.
  /// Becomes the tape's module hooks.
  Zero3Engine(Tape& tape, std::unique_ptr<Zero3Parameters> parameters, const std::vector<Tensor>& listed,
              const DeepSpeedOptions& options);
  ~Zero3Engine() override;

  const std::vector<Tensor>& masters() const override { return masters_; }
  bool has_fused_adam() const override { return options_.has_fused_adam; }
  void before_forward() override { coordinator_->reset_step(); }
  void backward(const Tensor& loss, bool is_last) override;
  void step(Optimizer& optimizer) override;
  const Tensor& kept() const override { return gradient_norm_; }
  int rank() const override { return options_.rank; }
  const std::vector<std::size_t>& gradient_events() const override { return gradient_events_; }
  std::vector<std::size_t> gathered() const override { return parameters_.gathered(); }
  /// Whether nothing is on its way: only what persists is whole.
  bool is_at_rest() const;
  /// The allocations of parameters that stay whole until the step, which gathers them anew.
  std::vector<AllocationId> persistent_ids() const;

 private:
  struct Hook;

  void mark_persistent(const std::vector<std::size_t>& listed);
  void defragment();
  void make_groups(const std::vector<std::size_t>& listed);
  void make_masters();
  void make_buckets();
  void take_gradient(std::size_t index);
  void reduce_bucket();
  std::vector<Tensor> scattered();
  std::vector<Tensor> cut_out_of_sum();
  void keep(const std::vector<Tensor>& pieces);
  std::int64_t owned_numel(std::size_t index) const;
  std::vector<Tensor> gradients_of(std::size_t group) const;

  Tape& tape_;
  DeepSpeedOptions options_;
  std::unique_ptr<Zero3Parameters> owned_parameters_;
  Zero3Parameters& parameters_;
  std::optional<Zero3Coordinator> coordinator_;
  Tensor overflow_flag_;     ///< of FusedAdam
  Tensor overflow_tracker_;  ///< of the optimizer around it
  std::vector<std::size_t> persistent_;
  std::vector<std::vector<std::size_t>> groups_;  ///< of trained parameters, each stepped at once
  Tensor flat_;                                   ///< this rank's parts of all trained parameters
  std::vector<Tensor> masters_;                   ///< of each group
  std::vector<Edge> accumulators_;                ///< counted
  std::vector<std::unique_ptr<Hook>> hooks_;

  Tensor bucket_;  ///< undefined where gradients are not copied
  std::vector<std::size_t> in_bucket_;
  std::int64_t filled_ = 0;
  Tensor gradients_;                  ///< this rank's parts
  std::vector<std::int64_t> starts_;  ///< of each parameter's part in it
  Tensor gradient_norm_;
  std::vector<std::size_t> gradient_events_;
};

}  // namespace vramwise::tape
