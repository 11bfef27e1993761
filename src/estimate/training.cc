// The training loop that most scripts have: batches to the card, model(input_ids, labels).loss.backward(), clipping,
// step, zero_grad. Python's names keep a batch and a loss until the next one takes their place.

#include "estimate/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "estimate/pass_state.h"
#include "estimate/repeated_stretch.h"
#include "estimate/training_check.h"
#include "estimate/tune_recipe.h"
#include "tape/engine.h"
#include "tape/ops/pointwise.h"
#include "tape/optim/grad_scaler.h"
#include "tape/parallel/zero3.h"
#include "tape/transforms/autocast.h"

namespace vramwise {
namespace {

using tape::Tape;
using tape::Tensor;

/// 2 GiB of them, and as much again while their list grows.
constexpr std::size_t kMostEvents = std::size_t{1} << 27;
constexpr std::int64_t kRecordingPasses = 2;

std::optional<DType> autocast_type(TrainingPrecision precision) {
  if (precision == TrainingPrecision::kBf16Mixed) return DType::kBFloat16;
  if (precision == TrainingPrecision::kFp16Mixed) return DType::kFloat16;
  return std::nullopt;
}

// Weights as they come onto the card. Those that will be quantized come in the type that is computed in.
DType weight_type(const TrainingSettings& settings) {
  if (settings.precision == TrainingPrecision::kBf16) return DType::kBFloat16;
  if (settings.precision == TrainingPrecision::kFp16) return DType::kFloat16;
  const bool is_quantized = settings.quantization != Quantization::kNone;
  return is_quantized ? autocast_type(settings.precision).value_or(DType::kFloat32) : DType::kFloat32;
}

// fully_shard: what is computed in under MixedPrecisionPolicy, and what is stored and reduced.
DType computed_type(const TrainingSettings& settings) {
  const bool is_sharded = settings.parallel.kind == Parallel::kFullyShard;
  return is_sharded ? autocast_type(settings.precision).value_or(weight_type(settings)) : weight_type(settings);
}

ParallelOptions parallel_options(const TrainingSettings& settings) {
  ParallelOptions options = settings.parallel;
  options.deepspeed.passes = settings.gradient_accumulation_steps;
  options.deepspeed.clips = settings.clips_gradients;
  if (settings.precision == TrainingPrecision::kFp32) options.deepspeed.checks_overflow = false;
  options.stored = options.reduced = weight_type(settings);
  return options;
}

// Two elements of a quantized weight share a byte.
std::int64_t numbers_in(const Tensor& parameter) {
  return parameter.type() == DType::kUInt8 ? 2 * parameter.numel() : parameter.numel();
}

class Run {
 public:
  Run(Tape& tape, const ModelConfig& config, const TrainingSettings& settings)
      : tape_(tape), settings_(settings), repeater_(tape), found_by_alike_(tape) {
    begin(TrainingPhase::kLoad);
    const ForwardOptions options{.attention = settings.attention,
                                 .checkpointing = settings.checkpointing,
                                 .uses_cache = settings.uses_cache,
                                 .loss = settings.loss,
                                 .lora = settings.lora,
                                 .quantization = settings.quantization,
                                 .repeater = repeats() ? &repeater_ : nullptr,
                                 .logits = settings.copies_outputs && uses_autocast() ? &logits_ : nullptr,
                                 .loss_mark = static_cast<std::uint32_t>(TrainingPhase::kLoss)};
    model_ = std::make_unique<ParallelModel>(tape, config.architecture, computed_type(settings), options,
                                             parallel_options(settings));
    scaler_ = tape::GradScaler(model_->has_shards());
    if (repeats()) tell_layers();
    optimizer_ = settings.parallel.offloads ? make_host_optimizer(settings.optimizer, model_->optimized())
                                            : make_optimizer(settings.optimizer, model_->optimized());
    if (const tape::DeepSpeedEngine* engine = model_->engine(); engine != nullptr && engine->has_fused_adam())
      optimizer_ = engine->make_fused_adam();
    if (settings.parallel.shares_states) optimizer_ = tape::zero_redundancy(std::move(optimizer_));
    inputs_ = model_->model().inputs(
        {.samples = settings.micro_batch,
         .tokens = settings.seq_len,
         .target_tokens = settings.target_len,
         .image_size = settings.image_size > 0 ? settings.image_size : config.architecture.takes.image_size});
    batch_.resize(inputs_.size());
    if (settings.runs_tune_recipe) recipe_ = std::make_unique<TuneRecipe>(tape, model_->model(), settings);
  }

  void count_parameters(TrainingTrace& trace) const {
    for (const NamedParameter& parameter : model_->model().named_parameters()) {
      trace.parameters += numbers_in(parameter.tensor) + parameter.other_numel;
      if (parameter.tensor.requires_grad())
        trace.trained_parameters += parameter.tensor.numel() + parameter.other_numel;
    }
    const std::vector<int> kinds = model_->model().layer_kinds();
    trace.has_unlike_layers = std::ranges::adjacent_find(kinds, std::ranges::not_equal_to()) != kinds.end();
  }

  bool has_unused() const { return model_->has_unused(); }
  bool has_failed() const { return repeater_.has_failed(); }
  int repeated_layers() const { return repeater_.repeated(); }
  /// What each step replaces.
  std::vector<AllocationId> replaced_ids() const {
    if (recipe_ != nullptr) return recipe_->ids_of_step();
    std::vector<AllocationId> ids = batch_ids();
    if (const tape::DeepSpeedEngine* engine = model_->engine(); engine != nullptr && engine->kept().defined())
      ids.push_back(engine->kept()->storage->id);
    if (const tape::Zero3Engine* engine = zero3()) {
      const std::vector<AllocationId> persistent = engine->persistent_ids();
      ids.insert(ids.end(), persistent.begin(), persistent.end());
    }
    return ids;
  }
  bool writes_passes() const { return settings_.writes_repeats || zero3() != nullptr; }
  /// After a recipe's steps come further events.
  bool writes_steps() const { return writes_passes() || recipe_ != nullptr; }
  /// ZeRO-3 records its first pass and looks at that in the second.
  bool is_past_recording() const { return zero3() == nullptr || passes_run_ >= kRecordingPasses; }
  void note_owners(TrainingTrace& trace) const {
    trace.gathered = model_->gathered();
    trace.buckets = model_->buckets();
    for (std::vector<std::size_t>* places : {&trace.gathered, &trace.buckets})
      if (alike_) alike_->add_repeated(*places);
    if (const tape::DeepSpeedEngine* engine = model_->engine()) trace.rank = engine->rank();
  }
  void note_passes(TrainingTrace& trace) const {
    trace.first_pass = first_pass_;
    trace.last_pass = last_pass_;
    trace.repeats.passes = alike_ ? alike_->repeats() : 0;
    std::ranges::copy_if(cycles_, std::back_inserter(trace.repeats.events.cycles),
                         [](const EventCycle& cycle) { return cycle.times > 0; });
  }

  Status step() {
    const std::int64_t passes = settings_.gradient_accumulation_steps;
    for (std::int64_t i = 0; i < passes; ++i) {
      const tape::Work before = tape_.work();
      const std::size_t first = tape_.events().size();
      const std::vector<AllocationId> found = batch_ids();
      const Way way = add_pass(i, i + 1 == passes);
      if (i == 1 && writes_passes()) VRAMWISE_RETURN_IF_ERROR(check_passes(tape_.events().size() - first));
      ++passes_run_;
      if (zero3() != nullptr) {
        // Memory that several streams use comes back by a rule of its own: such passes are replayed one by one.
      } else if (way == Way::kRecorded || (way == Way::kRepeated && !is_in_cycle_)) {
        cycles_.push_back({.first = first, .last = tape_.events().size(), .times = 0});
        if (!writes_passes()) cycles_.back().unwritten = Renaming{.left = batch_ids(), .freed = found};
      } else if (way == Way::kRepeated) {
        ++cycles_.back().times;
      }
      is_in_cycle_ = way != Way::kReal;
      last_pass_ = tape_.work() - before;
      if (i == 0) first_pass_ = last_pass_;
    }
    begin(TrainingPhase::kOptimizerStep);
    if (settings_.updates) update();
    return Done{};
  }

  /// What the run does once the steps are over; false: nothing.
  bool finish() {
    if (recipe_ == nullptr || !settings_.updates) return false;
    recipe_->save();
    return true;
  }

 private:
  enum class Way : std::uint8_t { kReal, kRecorded, kRepeated };

  void update() {
    if (recipe_ != nullptr) return recipe_->update(*optimizer_);
    if (tape::DeepSpeedEngine* engine = model_->engine()) return engine->step(*optimizer_);
    // Gradients on the host are clipped there.
    if (settings_.clips_gradients && !settings_.parallel.offloads) {
      if (scales_loss()) scaler_.unscale(*optimizer_);
      model_->clip_gradients();
    }
    if (scales_loss()) {
      scaler_.step(*optimizer_);
      scaler_.update();
    } else {
      optimizer_->step();
    }
    for (const Tensor& parameter : model_->parameters()) parameter.set_grad({});
  }
  /// The events of all passes are kept, of each step.
  Status check_passes(std::size_t events_a_pass) const {
    const std::size_t most = kMostEvents / (events_a_pass * static_cast<std::size_t>(settings_.steps));
    if (std::cmp_less_equal(settings_.gradient_accumulation_steps, most)) return Done{};
    return usage_error(
        fmt::format("{} steps of {} passes, each of {} allocations and releases, are more than an estimate keeps",
                    settings_.steps, settings_.gradient_accumulation_steps, events_a_pass),
        fmt::format("--gradient_accumulation_steps {} or less; a plan gets there by a larger --batch_size or a smaller "
                    "--effective_batch",
                    std::max<std::size_t>(1, most)));
  }
  Way add_pass(std::int64_t number, bool is_last) {
    // The first pass makes gradients, to which the others add.
    const bool is_only_one = number == 1 && is_last && settings_.steps == 1;
    const bool is_at_rest = zero3() == nullptr || (is_past_recording() && zero3()->is_at_rest());
    if (!settings_.repeats || number == 0 || is_only_one || !is_at_rest || (is_last && has_unlike_last_pass())) {
      pass(is_last);
      return Way::kReal;
    }
    PassState found = state();
    if (alike_ && found == found_by_alike_) {
      if (is_in_cycle_ && !writes_passes()) {
        alike_->repeat_unwritten(tape_);
      } else {
        alike_->repeat(tape_, batch_ids());
        rename_batch(alike_->in_place());
      }
      return Way::kRepeated;
    }
    const bool is_recorded = !alike_ || alike_->repeats() == 0;
    if (is_recorded) {
      found_by_alike_ = std::move(found);
      alike_.emplace(tape_, batch_ids());
    }
    pass(is_last);
    if (!is_recorded) return Way::kReal;
    if (alike_->ends(tape_, batch_ids())) return Way::kRecorded;
    alike_.reset();
    return Way::kReal;
  }
  PassState state() const {
    PassState state(tape_);
    state.add(model_->parameters());
    if (model_->has_shards()) state.add(model_->model().parameters());
    return state;
  }
  void pass(bool is_last) {
    if (recipe_ != nullptr) return recipe_->pass();
    begin(TrainingPhase::kForward);
    for (std::size_t i = 0; i < inputs_.size(); ++i) batch_[i] = tape_.empty(inputs_[i].sizes, inputs_[i].type);
    Tensor loss;
    {
      std::optional<tape::Autocast> autocast;
      if (uses_autocast()) autocast.emplace(tape_, *autocast_type(settings_.precision));
      loss = model_->loss(batch_, is_last);
    }
    if (logits_.defined()) {
      const Tensor returned = to(logits_, DType::kFloat32);
      logits_.reset();
    }
    begin(TrainingPhase::kBackward);
    if (tape::DeepSpeedEngine* engine = model_->engine()) return engine->backward(loss, is_last);
    tape::backward(scales_loss() ? scaler_.scale(loss) : loss);
  }
  std::vector<AllocationId> batch_ids() const {
    if (recipe_ != nullptr) return recipe_->ids_of_pass();
    std::vector<AllocationId> ids;
    for (const Tensor& tensor : batch_)
      if (tensor.defined() && tensor->storage->bytes > 0) ids.push_back(tensor->storage->id);
    return ids;
  }
  void rename_batch(const std::vector<AllocationId>& ids) {
    if (recipe_ != nullptr) return recipe_->rename(ids);
    auto id = ids.begin();
    for (const Tensor& tensor : batch_)
      if (tensor->storage->bytes > 0) tensor->storage->id = *id++;
  }
  /// Gradients are summed over the cards in it.
  bool has_unlike_last_pass() const {
    const Parallel kind = settings_.parallel.kind;
    return kind == Parallel::kDataParallel || (kind == Parallel::kDeepSpeed && zero3() == nullptr);
  }
  const tape::Zero3Engine* zero3() const { return dynamic_cast<const tape::Zero3Engine*>(model_->engine()); }
  /// Whoever shards parameters has hooks between layers, and a part of a layer is none.
  bool repeats() const {
    const ParallelOptions& parallel = settings_.parallel;
    const bool has_whole_layers = parallel.kind == Parallel::kNone || parallel.kind == Parallel::kDataParallel ||
                                  (parallel.kind == Parallel::kDeepSpeed && parallel.deepspeed.stage < 3);
    return settings_.repeats && has_whole_layers;
  }
  void tell_layers() {
    std::vector<tape::StackLayer> layers;
    for (const int kind : model_->model().layer_kinds()) {
      const bool is_checkpointed = settings_.checkpointing.covers(static_cast<int>(layers.size()));
      layers.push_back({.kind = 2 * kind + (is_checkpointed ? 1 : 0), .parameters = {}});
    }
    for (const NamedParameter& each : model_->model().named_parameters())
      if (each.layer >= 0 && each.layer < std::ssize(layers))
        layers[static_cast<std::size_t>(each.layer)].parameters.push_back(each.tensor);
    repeater_.set_layers(std::move(layers));
  }
  /// fully_shard has a policy in its place.
  bool uses_autocast() const {
    return autocast_type(settings_.precision).has_value() && settings_.parallel.kind != Parallel::kFullyShard;
  }
  /// fp16 gradients need a GradScaler.
  bool scales_loss() const { return settings_.precision == TrainingPrecision::kFp16Mixed; }
  void begin(TrainingPhase phase) { tape_.mark(static_cast<std::uint32_t>(phase)); }

  Tape& tape_;
  const TrainingSettings& settings_;
  tape::LayerRepeater repeater_;
  std::unique_ptr<ParallelModel> model_;
  std::unique_ptr<tape::Optimizer> optimizer_;
  tape::GradScaler scaler_;
  std::vector<BatchTensor> inputs_;
  Batch batch_;
  std::unique_ptr<TuneRecipe> recipe_;
  Tensor logits_;
  tape::Work first_pass_;
  tape::Work last_pass_;
  std::optional<RepeatedStretch> alike_;  ///< a pass that others are like
  PassState found_by_alike_;
  std::vector<EventCycle>
      cycles_;  ///< those passes of each step, and the pass that was recorded where it is one of them
  bool is_in_cycle_ = false;
  std::int64_t passes_run_ = 0;
};

}  // namespace

Result<TrainingTrace> trace_training(const ModelConfig& model, const TrainingSettings& settings,
                                     const tape::Hardware& hardware) {
  VRAMWISE_RETURN_IF_ERROR(check_training(model, settings));
  VRAMWISE_RETURN_IF_ERROR(check_card(model, settings, hardware));
  TrainingTrace trace;
  Tape tape(hardware);
  Run run(tape, model, settings);
  run.count_parameters(trace);
  tape::Work before = tape.work();
  std::optional<RepeatedStretch> last;
  bool is_settled = false;
  for (int i = 0; i < settings.steps; ++i) {
    before = tape.work();
    if (is_settled) {
      if (run.writes_steps())
        last->repeat(tape);
      else
        last->repeat_unwritten(tape);
      continue;
    }
    last.emplace(tape, run.replaced_ids());
    const bool may_settle = settings.repeats && i > 0 && run.is_past_recording();
    VRAMWISE_RETURN_IF_ERROR(run.step());
    // The first step makes what is made once.
    is_settled = may_settle && last->ends(tape, run.replaced_ids());
  }
  if (run.has_unused())
    return incomplete("some parameters get no gradient, at which DistributedDataParallel stops",
                      "find_unused_parameters=True is not modelled; `vramwise dryrun` measures it");
  if (run.has_failed()) {
    TrainingSettings each_layer = settings;
    each_layer.repeats = false;
    return trace_training(model, each_layer, hardware);
  }
  if (tape.has_changed_result())
    return incomplete(
        "selective checkpointing keeps a result that the layer then changes in place, at which PyTorch stops",
        "--gradient_checkpointing all, or --attention eager");
  run.note_owners(trace);
  if (last) {
    last->add_repeated(trace.gathered);
    last->add_repeated(trace.buckets);
    trace.repeats = {.layers = run.repeated_layers(), .steps = last->repeats(), .passes = 0, .events = last->events()};
  }
  run.note_passes(trace);
  if (last) last->add_repeated(trace.repeats.events.cycles, tape.events());
  // What follows the steps ends what can be told as their repeats; those of passes lie within steps.
  if (run.finish()) trace.repeats.events = {.cycles = std::move(trace.repeats.events.cycles)};
  trace.step_work = tape.work() - before;
  trace.host_managed_bytes = tape.host_bytes(tape::HostMemory::kManaged);
  trace.host_pageable_bytes = tape.host_bytes(tape::HostMemory::kPageable);
  if (settings.parallel.offloads) trace.host_pinned_bytes = tape.pinned_memory().held_bytes();
  trace.workspaces = tape.cublas_workspaces();
  trace.has_estimates = !tape.estimates().empty();
  trace.events = tape.take_events();
  return trace;
}

}  // namespace vramwise
