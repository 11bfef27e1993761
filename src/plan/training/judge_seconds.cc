// How long a candidate's step takes: its kernels, and what travels between cards, or between a card and the host.
#include "cost/work_time.h"
#include "plan/training/judge.h"

namespace vramwise {
namespace {

bool is_16bit(TrainingPrecision precision) {
  return precision == TrainingPrecision::kBf16 || precision == TrainingPrecision::kFp16;
}

constexpr double kFp32Bytes = 4, kHalfBytes = 2;
// Of each parameter, gradient and state, how often the host reads or writes them: AdamW seven times (it reads four and
// writes three), clipping three; each further pass adds its gradients. All cards' processes share the host's memory.
constexpr double kHostTouches = 10, kHostAdds = 3;

/// Of a weight.
double stored_bytes(const TrainingSettings& settings) { return is_16bit(settings.precision) ? kHalfBytes : kFp32Bytes; }

}  // namespace

Precision TrainingJudge::computed_in(TrainingPrecision precision) {
  return precision == TrainingPrecision::kFp32 ? Precision::kFp32 : Precision::kBf16;
}

EngineRun TrainingJudge::engine_of(std::size_t option, const PassProfile& passes) const {
  const TrainingSettings& settings = space_.options[option].settings;
  return {.zero = settings.parallel.deepspeed,
          .ranks = request_.cards,
          .stored_bytes = stored_bytes(settings),
          .parameters = static_cast<double>(passes.parameters()),
          .trained = static_cast<double>(passes.trained_parameters())};
}

double TrainingJudge::seconds(const TrainingCandidate& candidate) {
  const PassProfile& passes = *passes_of(candidate);
  const UpdateProfile& update = *update_of(candidate.option);
  const TrainingSettings& settings = space_.options[candidate.option].settings;
  const Precision precision = computed_in(settings.precision);
  tape::Work first = passes.first_pass(candidate.recomputed), later = passes.later_pass(candidate.recomputed);
  tape::Work updated = update.work;
  if (has_engine(settings)) {
    const EngineWork engine = engine_work(engine_of(candidate.option, passes), later - first);
    later = first;
    first += engine.first_pass;
    later += engine.later_pass;
    updated.bytes_moved /= request_.cards;
    updated += engine.update;
  }
  const StepSeconds step{
      .first_pass = seconds_of(first, rates_, precision),
      .later_pass = seconds_of(later, rates_, precision),
      .passes = space_.sequences / candidate.micro_batch,
      // Paged states come and go once a step.
      .update = seconds_of(updated, rates_, precision) + 2 * update.paged_bytes / rates_.pcie_byte_s};
  if (has_engine(settings))
    return engine_seconds(step, {.ranks = request_.cards, .link_byte_s = rates_.link_byte_s},
                          engine_of(candidate.option, passes));
  return shared_seconds(settings, passes, step);
}

double TrainingJudge::shared_seconds(const TrainingSettings& settings, const PassProfile& passes,
                                     const StepSeconds& step) const {
  const CardGroup group{.ranks = request_.cards, .link_byte_s = rates_.link_byte_s};
  const double stored = stored_bytes(settings);
  const double parameters = static_cast<double>(passes.parameters());
  const double trained = static_cast<double>(passes.trained_parameters());
  switch (settings.parallel.kind) {
    case Parallel::kNone:
    case Parallel::kTensor:     // no knob chooses it
    case Parallel::kDeepSpeed:  // engine_seconds()
      return step.total();
    case Parallel::kDataParallel: {
      const double gradient = settings.lora.is_on() ? kFp32Bytes : stored;
      const double shared = settings.parallel.shares_states ? broadcast_seconds(group, stored * parameters) : 0;
      return data_parallel_seconds(step, group, gradient * trained) + shared;
    }
    case Parallel::kFullyShard: {
      const double computed = settings.precision == TrainingPrecision::kFp32 ? kFp32Bytes : kHalfBytes;
      ShardedBytes bytes{.gathered = computed * parameters,
                         .reduced = stored * trained,
                         .groups = 1.0 + request_.model.architecture.layers,
                         .gathers_again = settings.parallel.reshards_after_forward};
      double on_host = 0;
      if (settings.parallel.offloads) {
        const double each = rates_.pcie_byte_s * request_.cards;
        bytes.from_host = stored * parameters / each;
        bytes.to_host = stored * trained / each;
        const double touches = kHostTouches + kHostAdds * static_cast<double>(step.passes - 1);
        on_host = touches * stored * trained / rates_.host_byte_s;
      }
      return fully_shard_seconds(step, group, bytes) + on_host;
    }
  }
  return step.total();
}

}  // namespace vramwise
