// See collectives.h.
#include "cost/collectives.h"

#include <algorithm>

namespace vramwise {
namespace {

// The backward pass has two products where the forward pass has one.
constexpr double kForward = 1.0 / 3, kBackward = 2.0 / 3;
constexpr double kBucketBytes = 25.0 * (1 << 20);  // bucket_cap_mb
// NCCL's src/graph/tuning.cc (2.27): what a ring takes at least under the protocol Simple, and each of its steps over
// PCIe, the slower link.
constexpr double kRingBase = 8.4e-6, kRingStep = 5.7e-6;

double all_reduce_latency(const CardGroup& group) {
  return group.ranks > 1 ? kRingBase + 2 * (group.ranks - 1) * kRingStep : 0;
}
double all_gather_latency(const CardGroup& group) {
  return group.ranks > 1 ? kRingBase + (group.ranks - 1) * kRingStep : 0;
}

}  // namespace

double all_gather_seconds(const CardGroup& group, double bytes) {
  const double ranks = group.ranks;
  return (ranks - 1) / ranks * bytes / group.link_byte_s;
}

double all_reduce_seconds(const CardGroup& group, double bytes) { return 2 * all_gather_seconds(group, bytes); }

double broadcast_seconds(const CardGroup& group, double bytes) {
  return group.ranks > 1 ? bytes / group.link_byte_s : 0;
}

double data_parallel_seconds(const StepSeconds& step, const CardGroup& group, double gradient_bytes) {
  const double last_bucket = std::min(gradient_bytes, kBucketBytes);
  const double beside = all_reduce_seconds(group, gradient_bytes - last_bucket);
  const double backward = kBackward * (step.passes > 1 ? step.later_pass : step.first_pass);
  return step.total() + std::max(0.0, beside - backward) + all_reduce_seconds(group, last_bucket);
}

double fully_shard_seconds(const StepSeconds& step, const CardGroup& group, const ShardedBytes& bytes) {
  const double gather = all_gather_seconds(group, bytes.gathered) + bytes.from_host;
  const double reduce = all_gather_seconds(group, bytes.reduced) + bytes.to_host;
  const auto pass = [&](double seconds) {
    const double backward = (bytes.gathers_again ? gather : 0) + reduce;
    return std::max(kForward * seconds, gather) + std::max(kBackward * seconds, backward) +
           (gather + reduce) / bytes.groups;
  };
  return pass(step.first_pass) + static_cast<double>(step.passes - 1) * pass(step.later_pass) + step.update;
}

double zero_seconds(const StepSeconds& step, const CardGroup& group, const ZeroBytes& bytes) {
  const double reduce = all_reduce_seconds(group, bytes.reduced) + bytes.buckets * all_reduce_latency(group);
  const auto pass = [&](double seconds) {
    if (!bytes.overlaps) return seconds + reduce;
    const double last_bucket = reduce / bytes.buckets;
    return seconds + std::max(0.0, reduce - last_bucket - kBackward * seconds) + last_bucket;
  };
  const double last = step.passes > 1 ? step.later_pass : step.first_pass;
  const auto before = [&](double seconds) { return bytes.reduces_each_pass ? pass(seconds) : seconds; };
  double total = pass(last) + step.update + all_gather_seconds(group, bytes.gathered);
  if (step.passes > 1) total += before(step.first_pass) + static_cast<double>(step.passes - 2) * before(last);
  return total;
}

double zero3_seconds(const StepSeconds& step, const CardGroup& group, const Zero3Bytes& bytes) {
  const double latency = all_gather_latency(group);
  const double forward = all_gather_seconds(group, bytes.gathered_forward) + bytes.forward_gathers * latency;
  const double again = all_gather_seconds(group, bytes.gathered_backward) + bytes.backward_gathers * latency;
  const double reduce = all_gather_seconds(group, bytes.reduced) + bytes.buckets * latency;
  const auto pass = [&](double seconds) {
    if (!bytes.overlaps) return seconds + forward + again + reduce;
    return std::max(kForward * seconds, forward) + std::max(kBackward * seconds, again + reduce) +
           forward / bytes.forward_gathers + reduce / bytes.buckets;
  };
  return pass(step.first_pass) + static_cast<double>(step.passes - 1) * pass(step.later_pass) + step.update;
}

}  // namespace vramwise
