// DeepSpeed's engine with ZeRO: every rank has the whole model in the type of the computation; of a float32 copy of all
// parameters and of the optimizer's states it has a part (stage 1), and of the gradients too (stage 2). The parameters
// are views of one flat tensor. Gradients are copied into a bucket, which is reduced when it is full.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tape/optim/optimizer.h"
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
  bool reduces_to_owner = true;                   ///< reduce_scatter: a slice of the bucket for each rank
  bool reduces_at_once = true;                    ///< use_multi_rank_bucket_allreduce: those slices in one piece
  bool round_robin = false;                       ///< round_robin_gradients
  bool clips = false;                             ///< gradient_clipping is not 0
  bool checks_overflow = true;                    ///< of 16-bit gradients
  bool has_fused_adam = false;                    ///< FusedAdam of its own, in the place of an optimizer of PyTorch
  std::int64_t card_bytes = 0;                    ///< total memory; 0: enough for anything
};

class DeepSpeedEngine {
 public:
  /// deepspeed.initialize(): takes the parameters' memory and gives them parts of the flat tensor.
  DeepSpeedEngine(Tape& tape, std::vector<Tensor> parameters, const DeepSpeedOptions& options);
  ~DeepSpeedEngine();
  DeepSpeedEngine(const DeepSpeedEngine&) = delete;
  DeepSpeedEngine& operator=(const DeepSpeedEngine&) = delete;

  /// This rank's float32 part of the flat tensor: what the optimizer steps.
  const Tensor& master() const { return master_; }
  bool has_fused_adam() const { return options_.has_fused_adam; }
  /// FusedAdam over master().
  std::unique_ptr<Optimizer> make_fused_adam() const;
  /// engine.backward(loss), for the last pass of a step or another one.
  void backward(const Tensor& loss, bool is_last);
  /// engine.step() after the last pass.
  void step(Optimizer& optimizer);
  /// What a step leaves and the next one replaces: the norm of the gradients.
  const Tensor& kept() const { return gradient_norm_; }
  int rank() const { return options_.rank; }
  /// The allocations of buckets and of what gradients are kept in, as indices into the tape's events.
  const std::vector<std::size_t>& gradient_events() const { return gradient_events_; }

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
  Tensor master_;

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
