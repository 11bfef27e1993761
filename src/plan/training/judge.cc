// Options that differ only in what does not concern the passes share one profile of the passes, and so the updates.
#include "plan/training/judge.h"

#include <algorithm>

#include "cost/work_time.h"

namespace vramwise {
namespace {

// The host's work for one kernel out of Python: the middle of the range that device_rates.h names.
constexpr double kPythonLaunch = 10e-6;
// From the second pass on every pass allocates what the one before did.
constexpr std::int64_t kUnlikePasses = 2;

Precision computed_in(TrainingPrecision precision) {
  return precision == TrainingPrecision::kFp32 ? Precision::kFp32 : Precision::kBf16;
}

bool is_16bit(TrainingPrecision precision) {
  return precision == TrainingPrecision::kBf16 || precision == TrainingPrecision::kFp16;
}

constexpr double kFp32Bytes = 4, kHalfBytes = 2;
// Of each parameter, gradient and state, how often the host reads or writes them: AdamW seven times (it reads four and
// writes three), clipping three; each further pass adds its gradients. All cards' processes share the host's memory.
constexpr double kHostTouches = 10, kHostAdds = 3;

bool concerns(const Knob& knob, StepPart part) { return knob.part == part || knob.part == StepPart::kBoth; }

}  // namespace

TrainingJudge::TrainingJudge(const TrainingRequest& request, const TrainingSpace& space)
    : request_(request), space_(space), rates_(request.rates) {
  rates_.launch_s = std::max(rates_.launch_s, kPythonLaunch);
  for (const TrainingConfiguration& option : space.options) {
    pass_keys_.push_back(key_of(option, StepPart::kPasses));
    update_keys_.push_back(key_of(option, StepPart::kUpdate));
  }
}

TrainingConfiguration TrainingJudge::configuration(const TrainingCandidate& candidate) const {
  return with_numbers(space_.options[candidate.option], candidate.micro_batch, space_.sequences / candidate.micro_batch,
                      candidate.recomputed, request_.model.architecture.layers);
}

TrainingJudge::Key TrainingJudge::key_of(const TrainingConfiguration& option, StepPart part) const {
  Key key;
  for (const Knob& knob : training_knobs()) {
    if (!concerns(knob, part)) continue;
    const KnobValue* value = value_of(knob, option);
    key += value == nullptr ? "-;" : std::string(value->name) + ";";
  }
  return key;
}

/// The option's values of the knobs that the part depends on, and plain ones of all others.
TrainingConfiguration TrainingJudge::plain_but(const TrainingConfiguration& option, StepPart part) const {
  TrainingConfiguration plain = space_.options.front();
  for (const Knob& knob : training_knobs()) {
    const KnobValue* value = concerns(knob, part) ? value_of(knob, option) : nullptr;
    if (value != nullptr) value->set(plain);
  }
  return plain;
}

const PassProfile* TrainingJudge::passes_of(std::size_t option, std::int64_t micro_batch) {
  return passes_of(space_.options[option], pass_keys_[option], micro_batch);
}

const PassProfile* TrainingJudge::passes_of(const TrainingConfiguration& option, const Key& key,
                                            std::int64_t micro_batch) {
  const auto [place, is_new] = passes_.try_emplace({key, micro_batch}, Error{});
  if (is_new) {
    TrainingConfiguration plain = plain_but(option, StepPart::kPasses);
    plain.settings.micro_batch = micro_batch;
    const PassProfile* like = nullptr;
    if (plain.settings.checkpointing.is_selective) {
      TrainingConfiguration whole = plain;
      whole.settings.checkpointing.is_selective = false;
      like = passes_of(whole, key_of(whole, StepPart::kPasses), micro_batch);
    }
    place->second =
        PassProfile::of(request_.model, plain.settings, request_.card.hardware, space_.recomputed.back() > 0, like);
  }
  if (place->second.ok()) return &*place->second;
  error_ = place->second.error();
  return nullptr;
}

const UpdateProfile* TrainingJudge::update_of(std::size_t option) {
  const auto [place, is_new] = updates_.try_emplace(update_keys_[option], Error{});
  if (is_new) {
    TrainingConfiguration plain = plain_but(space_.options[option], StepPart::kUpdate);
    plain.settings.checkpointing.layers = 0;
    place->second = update_profile(request_.model, plain.settings, request_.card.hardware);
  }
  if (place->second.ok()) return &*place->second;
  error_ = place->second.error();
  return nullptr;
}

bool TrainingJudge::is_possible(std::size_t option) {
  return passes_of(option, space_.micro_batches.front()) != nullptr && update_of(option) != nullptr;
}

double TrainingJudge::seconds(const TrainingCandidate& candidate) {
  const PassProfile& passes = *passes_of(candidate.option, candidate.micro_batch);
  const UpdateProfile& update = *update_of(candidate.option);
  const TrainingSettings& settings = space_.options[candidate.option].settings;
  const Precision precision = computed_in(settings.precision);
  const StepSeconds step{
      .first_pass = seconds_of(passes.first_pass(candidate.recomputed), rates_, precision),
      .later_pass = seconds_of(passes.later_pass(candidate.recomputed), rates_, precision),
      .passes = space_.sequences / candidate.micro_batch,
      // Paged states come and go once a step.
      .update = seconds_of(update.work, rates_, precision) + 2 * update.paged_bytes / rates_.pcie_byte_s};
  return shared_seconds(settings, passes, step);
}

double TrainingJudge::shared_seconds(const TrainingSettings& settings, const PassProfile& passes,
                                     const StepSeconds& step) const {
  const CardGroup group{.ranks = request_.cards, .link_byte_s = rates_.link_byte_s};
  const bool is_half = is_16bit(settings.precision);
  const double stored = is_half ? kHalfBytes : kFp32Bytes;
  const double parameters = static_cast<double>(passes.parameters());
  const double trained = static_cast<double>(passes.trained_parameters());
  switch (settings.parallel.kind) {
    case Parallel::kNone:
    case Parallel::kTensor:  // no knob chooses it
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

double TrainingJudge::least_device_bytes(const TrainingCandidate& candidate) {
  const PassProfile& passes = *passes_of(candidate.option, candidate.micro_batch);
  double alive = passes.alive_bytes(candidate.recomputed, false);
  if (candidate.micro_batch < space_.sequences) alive = std::max(alive, passes.alive_bytes(candidate.recomputed, true));
  const Bytes outside = request_.card.context + request_.card.communicator;
  return alive + update_of(candidate.option)->state_bytes + static_cast<double>(outside.count());
}

Result<TrainingEstimate> TrainingJudge::estimate(const TrainingCandidate& candidate) {
  const std::int64_t passes = std::min(space_.sequences / candidate.micro_batch, kUnlikePasses);
  const std::array<std::int64_t, 4> numbers = {static_cast<std::int64_t>(candidate.option), candidate.micro_batch,
                                               passes, candidate.recomputed};
  const auto [place, is_new] = estimates_by_numbers_.try_emplace(numbers, Error{});
  if (is_new) {
    ++estimates_;
    TrainingConfiguration asked = configuration(candidate);
    asked.settings.gradient_accumulation_steps = passes;
    TrainingCard card = request_.card;
    card.total.reset();
    place->second = estimate_training(request_.model, asked.settings, card, asked.allocator);
  }
  return place->second;
}

TrainingChoice TrainingJudge::choice(const TrainingCandidate& candidate, const TrainingEstimate& estimate) {
  return {.candidate = candidate,
          .configuration = configuration(candidate),
          .estimate = estimate,
          .seconds = seconds(candidate),
          .cards = request_.cards};
}

double TrainingChoice::tokens_per_s() const {
  const TrainingSettings& s = configuration.settings;
  const double sequences =
      static_cast<double>(s.micro_batch) * static_cast<double>(s.gradient_accumulation_steps) * cards;
  return seconds > 0 ? sequences * static_cast<double>(s.seq_len) / seconds : 0;
}

}  // namespace vramwise
