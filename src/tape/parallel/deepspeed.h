// DeepSpeed's engine with ZeRO. Stages 1 and 2: every rank has the whole model in the type of the computation; of a
// float32 copy of all parameters and of the optimizer's states it has a part (stage 1), and of the gradients too (stage
// 2). The parameters are views of one flat tensor. Gradients are copied into a bucket, which is reduced when it is
// full. Stage 3 is in zero3.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tape/optim/optimizer.h"
#include "tape/parallel/zero3_coordinator.h"
#include "tape/tape.h"

namespace vramwise::tape {

/// As a rank: the one that keeps the most gradients, as it has a part of the largest parameters.
inline constexpr int kMostGradients = -1;

struct DeepSpeedOptions {
  int stage = 2;
  int ranks = 2;
  int rank = kMostGradients;
  std::int64_t passes = 1;                        ///< gradient_accumulation_steps
  std::int64_t reduce_bucket_size = 500'000'000;  ///< in elements
  bool overlaps = false;                          ///< overlap_comm: two buckets, reduced on a stream of their own
  bool copies_gradients = true;                   ///< contiguous_gradients; stages 1 and 2 always do here
  bool reduces_to_owner = true;                   ///< reduce_scatter: a slice of the bucket for each rank
  bool reduces_at_once = true;                    ///< use_multi_rank_bucket_allreduce: those slices in one piece
  bool round_robin = false;                       ///< round_robin_gradients
  bool clips = false;                             ///< gradient_clipping is not 0
  bool checks_overflow = true;                    ///< of 16-bit gradients
  bool has_fused_adam = false;                    ///< FusedAdam of its own, in the place of an optimizer of PyTorch
  std::int64_t card_bytes = 0;                    ///< total memory; 0: enough for anything
  Zero3Options zero3{};
};

class DeepSpeedEngine {
 public:
  DeepSpeedEngine() = default;
  DeepSpeedEngine(const DeepSpeedEngine&) = delete;
  DeepSpeedEngine& operator=(const DeepSpeedEngine&) = delete;
  virtual ~DeepSpeedEngine() = default;

  /// This rank's float32 parts of the parameters: what the optimizer steps.
  virtual const std::vector<Tensor>& masters() const = 0;
  virtual bool has_fused_adam() const = 0;
  /// engine(…) is about to run the model.
  virtual void before_forward() {}
  /// engine.backward(loss), for the last pass of a step or another one.
  virtual void backward(const Tensor& loss, bool is_last) = 0;
  /// engine.step() after the last pass.
  virtual void step(Optimizer& optimizer) = 0;
  /// What a step leaves and the next one replaces: the norm of the gradients.
  virtual const Tensor& kept() const = 0;
  virtual int rank() const = 0;
  /// The allocations of buckets and of what gradients are kept in, as indices into the tape's events.
  virtual const std::vector<std::size_t>& gradient_events() const = 0;
  /// Likewise of gathered parameters.
  virtual std::vector<std::size_t> gathered() const { return {}; }
  /// FusedAdam over masters().
  std::unique_ptr<Optimizer> make_fused_adam() const;
};

/// Of stages 1 and 2.
class Zero2Engine final : public DeepSpeedEngine {
 public:
  /// deepspeed.initialize(): takes the parameters' memory and gives them parts of the flat tensor.
  Zero2Engine(Tape& tape, std::vector<Tensor> parameters, const DeepSpeedOptions& options);
  ~Zero2Engine() override;

  const std::vector<Tensor>& masters() const override { return masters_; }
  bool has_fused_adam() const override { return options_.has_fused_adam; }
  void backward(const Tensor& loss, bool is_last) override;
  void step(Optimizer& optimizer) override;
  const Tensor& kept() const override { return gradient_norm_; }
  int rank() const override { return options_.rank; }
  const std::vector<std::size_t>& gradient_events() const override { return gradient_events_; }

 private:
  struct Hook;
  struct Slice {
    int owner = 0;
    std::int64_t numel = 0;
  };

  void flatten_parameters();
  void take_parts();
  std::int64_t owned_numel(std::size_t index, int rank) const;
  int rank_with_most_gradients() const;
  void take_gradient(std::size_t index);
  void set_up_buckets();
  void add_to_bucket(std::size_t index);
  void reduce_bucket();
  void average_bucket(const Tensor& bucket);
  std::vector<Slice> slices_of_bucket() const;
  std::vector<Slice> slices_of(std::size_t index) const;
  void reduce_slices(const Tensor& bucket, const std::vector<std::pair<std::int64_t, std::int64_t>>& slices);
  void keep_gradient(std::size_t index);
  void end_pass();
  std::vector<Tensor> owned_gradients() const;
  std::span<const Tensor> owned_averages() const;
  std::vector<Tensor> flat_part(const std::vector<Tensor>& gradients) const;
  bool is_owned(std::size_t index) const { return owned_numel_[index] > 0; }

  Tape& tape_;
  DeepSpeedOptions options_;
  std::vector<Tensor> parameters_;
  std::vector<Edge> accumulators_;  ///< counted
  std::vector<std::unique_ptr<Hook>> hooks_;
  std::vector<std::size_t> order_;         ///< of the parameters in the flat tensor
  std::vector<std::int64_t> starts_;       ///< of a parameter in the flat tensor
  std::vector<std::int64_t> owned_numel_;  ///< of a parameter's elements, how many are this rank's
  Tensor overflow_flag_;                   ///< of FusedAdam
  Tensor flat_;
  std::int64_t part_numel_ = 0;
  std::vector<Tensor> masters_;  ///< one, of the flat tensor

  std::vector<Tensor> buckets_;  ///< one, or two of which one is filled while the other is reduced
  std::size_t current_ = 0;
  std::int64_t filled_ = 0;
  std::vector<std::pair<std::size_t, Tensor>> in_bucket_;
  Tensor kept_gradients_;  ///< whole gradients of parameters that this rank has a part of
  std::int64_t kept_numel_ = 0;
  std::vector<Tensor> sums_;      ///< over the passes so far, of those parameters
  std::vector<Tensor> averaged_;  ///< this rank's part of all gradients, in pieces
  Tensor gradient_norm_;
  bool is_last_ = false;
  std::vector<std::size_t> gradient_events_;
};

}  // namespace vramwise::tape
