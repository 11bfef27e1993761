// Options that differ only in what does not concern the passes share one profile of the passes, and so the updates.
#include "plan/training/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "allocator/reserved_within.h"
#include "cost/work_time.h"
#include "estimate/reserved_of_training.h"
#include "estimate/training_check.h"

namespace vramwise {
namespace {

// The host's work for one kernel out of Python: the middle of the range that device_rates.h names.
constexpr double kPythonLaunch = 10e-6;
// Of ZeRO-3, whose passes are replayed one by one, a candidate is refused for what two of a step take. Where blocks are
// cut otherwise later, all of them may take a segment less.
constexpr std::int64_t kFirstPasses = 2;
constexpr std::size_t kMostTraces = 6;
constexpr double kRounding = 1e-9;

bool is_zero3(const TrainingSettings& settings) {
  return settings.parallel.kind == Parallel::kDeepSpeed && settings.parallel.deepspeed.stage == 3;
}

bool has_unlike_ranks(const TrainingSettings& settings) {
  return settings.parallel.kind == Parallel::kDeepSpeed && !is_zero3(settings) && settings.parallel.ranks > 1;
}

/// With an engine whose only card has all of the states, of which each of several has its part.
TrainingConfiguration whole_on_a_card(TrainingConfiguration option) {
  if (!has_engine(option.settings)) return option;
  option.settings.parallel.ranks = 1;
  option.settings.parallel.deepspeed.stage = 2;
  return option;
}

bool is_of(const Knob& knob, StepPart part) { return knob.part == part || knob.part == StepPart::kBoth; }

}  // namespace

TrainingJudge::TrainingJudge(const TrainingRequest& request, const TrainingSpace& space)
    : request_(request),
      space_(space),
      model_{request.model, request.shorter},
      hardware_(request.card.hardware),
      rates_(request.rates) {
  rates_.launch_s = std::max(rates_.launch_s, kPythonLaunch);
  // Then a product takes the longer of its arithmetic and its traffic.
  balance(hardware_, rates_);
  for (std::size_t i = 0; i < space.options.size(); ++i) fused_.push_back(with_fused_optimizer(i));
  for (const TrainingConfiguration& option : space.options) {
    trace_keys_.push_back(key_of(option, StepPart::kPasses) + key_of(option, StepPart::kUpdate));
    update_keys_.push_back(number_of(key_of(whole_on_a_card(option), StepPart::kUpdate)));
    const TrainingCard card = request.card_for(option.settings);
    outside_.push_back(card.context + card.communicator);
    pass_options_.push_back(option);
    // Which card keeps whose states is nothing to the passes, and what DeepSpeed's engine adds to those of a card alone
    // is told by engine_profile.h.
    ParallelOptions& parallel = pass_options_.back().settings.parallel;
    parallel.shares_states = false;
    if (has_engine(option.settings)) parallel = {.kind = Parallel::kNone, .deepspeed = parallel.deepspeed};
    pass_keys_.push_back(number_of(key_of(pass_options_.back(), StepPart::kPasses)));
    TrainingConfiguration whole_layers = pass_options_.back();
    whole_layers.settings.checkpointing.is_selective = false;
    plain_keys_.push_back(number_of("none: " + key_of(whole_layers, StepPart::kPasses)));
  }
}

TrainingConfiguration TrainingJudge::configuration(const TrainingCandidate& candidate) const {
  return with_numbers(space_.options[candidate.option], candidate.micro_batch, space_.sequences / candidate.micro_batch,
                      candidate.recomputed, request_.model.architecture.layers);
}

TrainingJudge::Key TrainingJudge::key_of(const TrainingConfiguration& option, StepPart part) const {
  Key key;
  for (const Knob& knob : training_knobs()) {
    if (!is_of(knob, part)) continue;
    const KnobValue* value = value_of(knob, option);
    key += value == nullptr ? "-;" : std::string(value->name) + ";";
  }
  return key;
}

/// The option's values of the knobs that the part depends on, and plain ones of all others.
TrainingConfiguration TrainingJudge::plain_but(const TrainingConfiguration& option, StepPart part) const {
  TrainingConfiguration plain = space_.options.front();
  for (const Knob& knob : training_knobs()) {
    const KnobValue* value = is_of(knob, part) ? value_of(knob, option) : nullptr;
    if (value != nullptr) value->set(plain);
  }
  return plain;
}

// With each N-th layer recomputed, or states shared out by whole tensors, two layers do not tell what many do.
ModelLengths TrainingJudge::model_for(const TrainingSettings& settings) const {
  static const std::vector<ModelConfig> kNone;
  const bool grows_evenly = settings.checkpointing.every == 1 && !settings.parallel.shares_states;
  return grows_evenly ? model_ : ModelLengths{.whole = model_.whole, .shorter = kNone};
}

const PassProfile* TrainingJudge::passes_of(std::size_t option, std::int64_t micro_batch, bool recomputes) {
  const KeyNumber key = recomputes ? pass_keys_[option] : plain_keys_[option];
  const auto [place, is_new] = passes_.try_emplace({key, micro_batch}, Error{});
  if (is_new) {
    TrainingConfiguration plain = plain_but(pass_options_[option], StepPart::kPasses);
    plain.settings.parallel = pass_options_[option].settings.parallel;
    if (!recomputes) plain.settings.checkpointing.is_selective = false;
    const Accumulation* accumulation = accumulation_of(plain_keys_[option], plain);
    plain.settings.micro_batch = micro_batch;
    place->second = PassProfile::of(model_for(plain.settings), plain.settings, hardware_, recomputes, accumulation);
  }
  if (place->second.ok()) return &*place->second;
  error_ = place->second.error();
  return nullptr;
}

// Gradients are added up in the same way whatever the micro-batch. On one card a single pass is like the first of many;
// on several the last one differs.
const Accumulation* TrainingJudge::accumulation_of(KeyNumber key, const TrainingConfiguration& plain) {
  if (!model_for(plain.settings).are_told() || plain.settings.parallel.kind != Parallel::kNone) return nullptr;
  const auto [place, is_new] = accumulations_.try_emplace(key);
  if (is_new) {
    TrainingSettings settings = plain.settings;
    settings.micro_batch = 1;
    settings.checkpointing.is_selective = false;
    const Result<PassProfile> both = PassProfile::of(model_, settings, hardware_, false, nullptr);
    if (both.ok()) place->second = both->accumulation();
  }
  return place->second ? &*place->second : nullptr;
}

const UpdateProfile* TrainingJudge::update_of(std::size_t option) {
  const auto [place, is_new] = updates_.try_emplace(update_keys_[option], Error{});
  if (is_new) {
    TrainingConfiguration plain = whole_on_a_card(plain_but(space_.options[option], StepPart::kUpdate));
    plain.settings.checkpointing = {};
    place->second = update_profile(model_for(plain.settings), plain.settings, hardware_);
  }
  if (place->second.ok()) return &*place->second;
  error_ = place->second.error();
  return nullptr;
}

bool TrainingJudge::is_possible(std::size_t option) {
  const std::int64_t micro_batch = space_.micro_batches.front();
  if (passes_of(option, micro_batch, false) == nullptr || update_of(option) == nullptr) return false;
  const int most = space_.recomputed.back();
  if (most > 0 && passes_of(option, micro_batch, true) == nullptr) return false;
  // The profiles of those with an engine are those of a card alone.
  TrainingConfiguration whole = with_numbers(space_.options[option], micro_batch, 1, most, model_.layers());
  const Status status = has_engine(whole.settings) ? check_training(request_.model, whole.settings) : Status(Done{});
  if (!status.ok()) error_ = status.error();
  return status.ok();
}

bool TrainingJudge::may_fit(std::size_t option, Bytes usable) {
  const UpdateProfile* update = update_of(option);
  return update == nullptr || update_bytes(option, *update) <= static_cast<double>((usable - outside(option)).count());
}

double TrainingJudge::update_bytes(std::size_t option, const UpdateProfile& update) {
  if (!has_engine(space_.options[option].settings)) return update.alive_bytes;
  const PassProfile* passes = passes_of(option, space_.micro_batches.front(), false);
  return passes == nullptr ? 0 : engine_update_bytes(engine_of(option, *passes), update.state_bytes / request_.cards);
}

double TrainingJudge::least_device_bytes(const TrainingCandidate& candidate) {
  const auto known = known_.find(numbers_of(candidate));
  return known != known_.end() ? known->second.at_least : profiled_bytes(candidate);
}

double TrainingJudge::profiled_bytes(const TrainingCandidate& candidate) {
  const PassProfile& passes = *passes_of(candidate);
  const UpdateProfile& update = *update_of(candidate.option);
  const bool accumulates = candidate.micro_batch < space_.sequences;
  double alive = 0, states = update.state_bytes;
  if (has_engine(space_.options[candidate.option].settings)) {
    const EngineRun engine = engine_of(candidate.option, passes);
    states /= request_.cards;
    alive = alive_without_gradients(passes, candidate.recomputed, engine.zero.stage < 3 ? engine.bucket_bytes() : 0) +
            engine_pass_bytes(engine, accumulates);
  } else {
    alive = alive_bytes(passes, candidate.recomputed, accumulates);
  }
  return std::max(alive + states, update_bytes(candidate.option, update)) +
         static_cast<double>(outside(candidate.option).count());
}

double TrainingJudge::alive_bytes(const PassProfile& passes, int recomputed, bool accumulates) {
  const auto [place, is_new] = alive_.try_emplace({&passes, recomputed, accumulates});
  if (is_new) {
    place->second = passes.alive_bytes(recomputed, false);
    if (accumulates) place->second = std::max(place->second, passes.alive_bytes(recomputed, true));
  }
  return place->second;
}

double TrainingJudge::alive_without_gradients(const PassProfile& passes, int recomputed, double bucket_bytes) {
  const auto [place, is_new] = alive_without_gradients_.try_emplace({&passes, recomputed, bucket_bytes});
  if (is_new) place->second = passes.alive_without_gradients(recomputed, bucket_bytes);
  return place->second;
}

std::int64_t TrainingJudge::replayed_passes(const TrainingCandidate& candidate) const {
  const std::int64_t passes = space_.sequences / candidate.micro_batch;
  return is_zero3(space_.options[candidate.option].settings) ? std::min(passes, kFirstPasses) : passes;
}

TrainingJudge::Numbers TrainingJudge::numbers_of(const TrainingCandidate& candidate) const {
  return {static_cast<std::int64_t>(candidate.option), candidate.micro_batch, replayed_passes(candidate),
          candidate.recomputed};
}

TrainingSettings TrainingJudge::replayed_settings(const TrainingCandidate& candidate) const {
  TrainingSettings settings = configuration(candidate).settings;
  settings.gradient_accumulation_steps = replayed_passes(candidate);
  settings.writes_repeats = false;
  return settings;
}

Result<const TrainingJudge::Traced*> TrainingJudge::traced(const TrainingCandidate& candidate) {
  const Key key = fmt::format("{} {} {}", trace_keys_[candidate.option], candidate.micro_batch, candidate.recomputed);
  for (const auto& each : traces_)
    if (each->key == key) return each.get();
  VRAMWISE_ASSIGN_OR_RETURN(TrainingTrace trace,
                            trace_training(request_.model, replayed_settings(candidate), hardware_));
  if (traces_.size() == kMostTraces) traces_.pop_front();
  const double least = static_cast<double>(least_reserved(trace.events));
  traces_.push_back(std::make_unique<Traced>(Traced{.key = key, .trace = std::move(trace), .least = least}));
  compare(candidate, *traces_.back());
  return traces_.back().get();
}

void TrainingJudge::compare(const TrainingCandidate& candidate, const Traced& traced) {
  if (!model_for(space_.options[candidate.option].settings).are_told()) return;
  const PassProfile& passes = *passes_of(candidate);
  const Precision precision = computed_in(space_.options[candidate.option].settings.precision);
  const double told = seconds_of(passes.later_pass(candidate.recomputed), rates_, precision);
  // Of a run of one pass that is the first as well as the last.
  const bool is_single = candidate.micro_batch == space_.sequences;
  if (profiled_bytes(candidate) > traced.least + static_cast<double>(outside(candidate.option).count()))
    is_contradicted_ = true;
  if (has_engine(space_.options[candidate.option].settings)) return;  // its times are told, not traced
  if (is_single && space_.options[candidate.option].settings.parallel.kind != Parallel::kNone) return;
  const double right = seconds_of(traced.trace.last_pass, rates_, precision);
  const double first = is_single ? seconds_of(passes.first_pass(candidate.recomputed), rates_, precision) : told;
  if (std::abs(first - right) > kRounding * right) is_contradicted_ = true;
}

bool TrainingJudge::is_beyond(const TrainingCandidate& candidate, Bytes most) const {
  const Numbers numbers = numbers_of(candidate);
  for (auto known = known_.lower_bound(numbers); known != known_.end(); ++known) {
    if (!std::equal(numbers.begin(), numbers.end() - 1, known->first.begin())) break;
    const bool tells = known->first == numbers || known->first.back() < model_.layers();
    if (tells && known->second.at_least > static_cast<double>(most.count())) return true;
  }
  return false;
}

bool TrainingJudge::is_refused(TrainingCandidate candidate, Bytes most) const {
  if (is_beyond(candidate, most)) return true;
  const std::optional<std::size_t> fused = fused_[candidate.option];
  candidate.option = fused.value_or(candidate.option);
  return fused && is_beyond(candidate, most);
}

std::optional<std::size_t> TrainingJudge::with_fused_optimizer(std::size_t option) const {
  const TrainingOptimizer optimizer = space_.options[option].settings.optimizer;
  if (optimizer != TrainingOptimizer::kAdamW && optimizer != TrainingOptimizer::kAdamWLoop) return std::nullopt;
  TrainingConfiguration fused = space_.options[option];
  fused.settings.optimizer = TrainingOptimizer::kAdamWFused;
  for (std::size_t i = 0; i < space_.options.size(); ++i) {
    const bool is_it = std::ranges::all_of(
        training_knobs(), [&](const Knob& knob) { return value_of(knob, space_.options[i]) == value_of(knob, fused); });
    if (is_it) return i;
  }
  return std::nullopt;
}

void TrainingJudge::count_replay() {
  ++replays_;
  if (request_.sink != nullptr) request_.sink->on_replay();
}

Result<std::optional<Bytes>> TrainingJudge::device_within(const TrainingCandidate& candidate, Bytes most) {
  const double limit = static_cast<double>(most.count());
  if (is_refused(candidate, most)) return std::optional<Bytes>();
  if (const auto fused = fused_[candidate.option]; fused && most < kNoLimit && is_possible(*fused)) {
    TrainingCandidate other = candidate;
    other.option = *fused;
    VRAMWISE_ASSIGN_OR_RETURN(const std::optional<Bytes> device, device_within(other, most));
    if (!device) return device;
  }
  const auto place =
      known_.try_emplace(numbers_of(candidate), Known{.at_least = least_device_bytes(candidate), .device = {}}).first;
  Known& known = place->second;
  if (known.at_least > limit) return std::optional<Bytes>();
  if (known.device) return known.device;
  VRAMWISE_ASSIGN_OR_RETURN(const Traced* const run, traced(candidate));
  known.at_least = std::max(known.at_least, run->least + static_cast<double>(outside(candidate.option).count()));
  if (known.at_least > limit) return std::optional<Bytes>();
  count_replay();
  const std::optional<std::int64_t> reserved =
      reserved_within(run->trace.events, space_.options[candidate.option].allocator,
                      (most - outside(candidate.option)).count(), run->trace.repeats.events);
  if (reserved) known.device = Bytes(*reserved) + outside(candidate.option);
  known.at_least = std::max(known.at_least, known.device ? static_cast<double>(known.device->count()) : limit + 1);
  return known.device;
}

bool TrainingJudge::replays_all_passes(const TrainingCandidate& candidate) const {
  return !has_unlike_ranks(space_.options[candidate.option].settings) &&
         space_.sequences / candidate.micro_batch == replayed_passes(candidate);
}

Result<Bytes> TrainingJudge::device_of_all_passes(const TrainingCandidate& candidate) {
  count_replay();
  const TrainingSettings settings = configuration(candidate).settings;
  TrainingCard card = request_.card;
  card.total.reset();
  VRAMWISE_ASSIGN_OR_RETURN(
      const std::optional<Bytes> reserved,
      reserved_of_training(request_.model, settings, card, space_.options[candidate.option].allocator));
  const Bytes device = reserved ? *reserved + outside(candidate.option) : kNoLimit;
  known_[numbers_of(candidate)] = {.at_least = static_cast<double>(device.count()), .device = device};
  return device;
}

Result<TrainingEstimate> TrainingJudge::estimate(const TrainingCandidate& candidate) {
  count_replay();
  const TrainingSettings settings = configuration(candidate).settings;
  TrainingCard card = request_.card_for(settings);
  card.total.reset();
  VRAMWISE_ASSIGN_OR_RETURN(TrainingEstimate whole, estimate_training(request_.model, settings, card,
                                                                      space_.options[candidate.option].allocator));
  if (!whole.fits) whole.device = kNoLimit;
  known_[numbers_of(candidate)] = {.at_least = static_cast<double>(whole.device.count()), .device = whole.device};
  return whole;
}

TrainingChoice TrainingJudge::choice(const TrainingCandidate& candidate, Bytes device) {
  return {.candidate = candidate,
          .configuration = configuration(candidate),
          .device = device,
          .estimate = {},
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
