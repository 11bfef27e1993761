// What cards of one machine tell each other in a step, in seconds: bytes over the link between them.
//
// NCCL's rings: of N ranks' tensor of B bytes, an all-gather and a reduce-scatter send (N - 1) / N x B through each
// link, an all-reduce both. Collectives run on streams of their own, beside the kernels; what nothing hides is said.
#pragma once

#include <cstdint>

namespace vramwise {

/// One rank's part of a group that shares a model.
struct CardGroup {
  int ranks = 1;
  double link_byte_s = 1;  ///< one direction, as collectives reach it
};

double all_gather_seconds(const CardGroup& group, double bytes);  ///< also of a reduce-scatter
double all_reduce_seconds(const CardGroup& group, double bytes);
double broadcast_seconds(const CardGroup& group, double bytes);

/// Seconds of the kernels of one optimizer step.
struct StepSeconds {
  double first_pass = 0;
  double later_pass = 0;  ///< each
  std::int64_t passes = 1;
  double update = 0;

  double total() const { return first_pass + static_cast<double>(passes - 1) * later_pass + update; }
};

/// DistributedDataParallel: gradients are summed beside the backward pass of the last pass, bucket by bucket; the last
/// bucket has nothing to hide behind.
double data_parallel_seconds(const StepSeconds& step, const CardGroup& group, double gradient_bytes);

/// fully_shard: layers are gathered beside the layer before, forward and (if resharded) backward, gradients are reduced
/// beside the layer after; the first gather and the last reduction wait. In every pass.
struct ShardedBytes {
  double gathered = 0;  ///< all parameters, as they are computed with
  double reduced = 0;   ///< all gradients, as they are summed
  double groups = 1;    ///< into which the parameters are divided
  bool gathers_again = true;
  /// CPUOffloadPolicy, seconds: a card's shards come from the host before each gather, its gradients go back there.
  double from_host = 0;
  double to_host = 0;
};
double fully_shard_seconds(const StepSeconds& step, const CardGroup& group, const ShardedBytes& bytes);

/// DeepSpeed's ZeRO-1 and -2 with what it does by default: buckets of gradients are summed over all ranks, so they
/// travel as in an all-reduce, in the last pass (stage 1) or in each (stage 2); after the step all parameters are
/// gathered. With overlap_comm buckets are summed beside the backward pass, all but the last.
struct ZeroBytes {
  double gathered = 0;  ///< all parameters
  double reduced = 0;   ///< all gradients
  double buckets = 1;   ///< that these fill
  bool reduces_each_pass = false;
  bool overlaps = false;
};
double zero_seconds(const StepSeconds& step, const CardGroup& group, const ZeroBytes& bytes);

/// DeepSpeed's ZeRO-3: parameters are gathered in every pass, forward and backward, and gradients reduce-scattered in
/// every one. With overlap_comm both go beside the kernels, but for the first gather and the last bucket.
struct Zero3Bytes {
  double gathered_forward = 0;   ///< parameters as they are computed with
  double gathered_backward = 0;  ///< of them, what is not still there
  double reduced = 0;            ///< all gradients
  double forward_gathers = 1;    ///< collectives
  double backward_gathers = 1;
  double buckets = 1;
  bool overlaps = true;
};
double zero3_seconds(const StepSeconds& step, const CardGroup& group, const Zero3Bytes& bytes);

}  // namespace vramwise
