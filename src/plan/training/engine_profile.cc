// Sizes are those of tape/parallel/deepspeed.cc and zero3.cc, without what is rounded up: a bound must not be above
// them.
#include "plan/training/engine_profile.h"

#include <algorithm>
#include <cmath>

namespace vramwise {
namespace {

constexpr double kFp32Bytes = 4;
constexpr int kShares = 3;  // the stage that shares weights out

bool shares_weights(const EngineRun& run) { return run.zero.stage == kShares; }

// What is read again within max_reuse_distance stays from the forward to the backward pass: of the parameters between,
// each is passed twice.
double gathered_again(const EngineRun& run) {
  return std::max(0.0, run.parameters - static_cast<double>(run.zero.zero3.max_reuse_distance) / 2);
}

/// Collectives of a prefetch bucket each.
double gathers(const EngineRun& run, double parameters) {
  return std::ceil(parameters / std::max(1.0, static_cast<double>(run.zero.zero3.prefetch_bucket_size)));
}

}  // namespace

bool has_engine(const TrainingSettings& settings) { return settings.parallel.kind == Parallel::kDeepSpeed; }

double EngineRun::bucket_bytes() const {
  const int buckets = zero.overlaps && zero.stage < kShares ? 2 : 1;
  return buckets * stored_bytes * static_cast<double>(zero.reduce_bucket_size);
}

// Stage 1 keeps whole gradients until the last pass, stage 2 at least this card's part. In stage 3 parts of weights and
// gradients and the bucket are always there, and what is gathered comes on top.
double engine_pass_bytes(const EngineRun& run, bool is_later) {
  const double masters = kFp32Bytes * run.part();
  if (shares_weights(run))
    return masters + 2 * run.stored_bytes * run.part() + run.bucket_bytes() - run.stored_bytes * run.parameters;
  const double gradients = run.zero.stage == 1 ? run.trained : run.part();
  return masters + (is_later ? run.stored_bytes * gradients : 0);
}

// The part's gradients lie there in pieces, then in one, then in float32 (which float32 ones are already).
double engine_update_bytes(const EngineRun& run, double state_bytes) {
  const double part = run.part();
  const bool is_half = run.stored_bytes < kFp32Bytes;
  const double weights =
      shares_weights(run) ? run.stored_bytes * part + run.bucket_bytes() : run.stored_bytes * run.parameters;
  const double at_once =
      shares_weights(run) ? std::min(part, static_cast<double>(run.zero.zero3.sub_group_size)) : part;
  return weights + state_bytes + kFp32Bytes * part + run.stored_bytes * part +
         (run.stored_bytes + (is_half ? kFp32Bytes : 0)) * at_once;
}

// Each gradient is copied into the bucket, in the passes that reduce; adding one reads two and writes one.
EngineWork engine_work(const EngineRun& run, const tape::Work& accumulation) {
  const tape::Work copies{.bytes_moved = accumulation.bytes_moved * 2 / 3, .kernels = accumulation.kernels};
  if (run.zero.stage == 1) return {.first_pass = {}, .later_pass = accumulation, .update = copies};
  EngineWork work{.first_pass = copies, .later_pass = copies, .update = {}};
  if (shares_weights(run)) {
    // Out of what was gathered at once each parameter is copied.
    const double gathered = run.parameters + gathered_again(run);
    const tape::Work unpacked{
        .bytes_moved = std::llround(2 * run.stored_bytes * gathered),
        .kernels =
            std::llround(gathers(run, run.parameters) + gathers(run, gathered_again(run))) + accumulation.kernels};
    work.first_pass += unpacked;
    work.later_pass += unpacked;
  } else {
    work.later_pass +=
        {.bytes_moved = accumulation.bytes_moved / run.ranks, .kernels = accumulation.kernels / run.ranks};
  }
  return work;
}

double engine_seconds(const StepSeconds& step, const CardGroup& group, const EngineRun& run) {
  const double buckets = std::ceil(run.trained / static_cast<double>(run.zero.reduce_bucket_size));
  if (!shares_weights(run))
    return zero_seconds(step, group,
                        {.gathered = run.stored_bytes * run.parameters,
                         .reduced = run.stored_bytes * run.trained,
                         .buckets = buckets,
                         .reduces_each_pass = run.zero.stage > 1,
                         .overlaps = run.zero.overlaps});
  const double again = gathered_again(run);
  return zero3_seconds(step, group,
                       {.gathered_forward = run.stored_bytes * run.parameters,
                        .gathered_backward = run.stored_bytes * again,
                        .reduced = run.stored_bytes * run.trained,
                        .forward_gathers = gathers(run, run.parameters),
                        .backward_gathers = gathers(run, again),
                        .buckets = buckets,
                        .overlaps = run.zero.overlaps});
}

}  // namespace vramwise
