// The training loop that most scripts have: batches to the card, model(input_ids, labels).loss.backward(), clipping,
// step, zero_grad. Python's names keep a batch and a loss until the next one takes their place.

#include "estimate/training.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <utility>

#include "estimate/training_ledger.h"
#include "tape/engine.h"
#include "tape/optim/optimizer.h"
#include "tape/transforms/autocast.h"

namespace vramwise {
namespace {

using tape::Tape;
using tape::Tensor;

template <typename T, std::size_t N>
using Names = std::array<std::pair<T, const char*>, N>;

constexpr Names<TrainingPrecision, 4> kPrecisions = {{{TrainingPrecision::kFp32, "fp32"},
                                                      {TrainingPrecision::kBf16, "bf16"},
                                                      {TrainingPrecision::kFp16, "fp16"},
                                                      {TrainingPrecision::kBf16Mixed, "bf16-mixed"}}};
constexpr Names<TrainingOptimizer, 5> kOptimizers = {{{TrainingOptimizer::kAdamW, "adamw"},
                                                      {TrainingOptimizer::kAdamWFused, "adamw-fused"},
                                                      {TrainingOptimizer::kAdamWLoop, "adamw-loop"},
                                                      {TrainingOptimizer::kSgd, "sgd"},
                                                      {TrainingOptimizer::kSgdMomentum, "sgd-momentum"}}};

template <typename T, std::size_t N>
const char* name_of(const Names<T, N>& names, T value) {
  for (const auto& [each, name] : names)
    if (each == value) return name;
  return "?";
}

template <typename T, std::size_t N>
Result<T> value_of(const Names<T, N>& names, const std::string& wanted, const char* what) {
  std::string known;
  for (const auto& [each, name] : names) {
    if (wanted == name) return each;
    known += known.empty() ? name : fmt::format(", {}", name);
  }
  return usage_error(fmt::format("{} {} is not known", what, wanted), fmt::format("known are {}", known));
}

DType weight_type(TrainingPrecision precision) {
  switch (precision) {
    case TrainingPrecision::kBf16:
      return DType::kBFloat16;
    case TrainingPrecision::kFp16:
      return DType::kFloat16;
    case TrainingPrecision::kFp32:
    case TrainingPrecision::kBf16Mixed:
      break;
  }
  return DType::kFloat32;
}

std::unique_ptr<tape::Optimizer> make_optimizer(TrainingOptimizer kind, std::vector<Tensor> parameters) {
  switch (kind) {
    case TrainingOptimizer::kAdamW:
      return tape::adamw(std::move(parameters), tape::StepKind::kForeach);
    case TrainingOptimizer::kAdamWFused:
      return tape::adamw(std::move(parameters), tape::StepKind::kFused);
    case TrainingOptimizer::kAdamWLoop:
      return tape::adamw(std::move(parameters), tape::StepKind::kLoop);
    case TrainingOptimizer::kSgd:
      return tape::sgd(std::move(parameters), {});
    case TrainingOptimizer::kSgdMomentum:
      break;
  }
  return tape::sgd(std::move(parameters), {.momentum = 0.9});
}

class Run {
 public:
  Run(Tape& tape, const ModelConfig& config, const TrainingSettings& settings) : tape_(tape), settings_(settings) {
    begin(TrainingPhase::kLoad);
    const ForwardOptions options{.attention = settings.attention,
                                 .checkpoints_layers = settings.checkpoints_layers,
                                 .lora = settings.lora,
                                 .loss_mark = static_cast<std::uint32_t>(TrainingPhase::kLoss)};
    model_ = config.architecture.make(tape, weight_type(settings.precision), options);
    optimizer_ = make_optimizer(settings.optimizer, model_->parameters());
    inputs_ = model_->inputs({.samples = settings.micro_batch,
                              .tokens = settings.seq_len,
                              .image_size = config.architecture.takes.image_size});
    batch_.resize(inputs_.size());
  }

  void count_parameters(TrainingTrace& trace) const {
    for (const Tensor& parameter : model_->parameters()) {
      trace.parameters += parameter.numel();
      if (parameter.requires_grad()) trace.trained_parameters += parameter.numel();
    }
  }

  void step() {
    for (std::int64_t i = 0; i < settings_.gradient_accumulation_steps; ++i) pass();
    begin(TrainingPhase::kOptimizerStep);
    if (settings_.clips_gradients) tape::clip_grad_norm(model_->parameters());
    optimizer_->step();
    optimizer_->zero_grad();
  }

 private:
  void pass() {
    begin(TrainingPhase::kForward);
    for (std::size_t i = 0; i < inputs_.size(); ++i) batch_[i] = tape_.empty(inputs_[i].sizes, inputs_[i].type);
    Tensor loss;
    {
      std::optional<tape::Autocast> autocast;
      if (settings_.precision == TrainingPrecision::kBf16Mixed) autocast.emplace(tape_, DType::kBFloat16);
      loss = model_->loss(batch_);
    }
    begin(TrainingPhase::kBackward);
    tape::backward(loss);
  }
  void begin(TrainingPhase phase) { tape_.mark(static_cast<std::uint32_t>(phase)); }

  Tape& tape_;
  const TrainingSettings& settings_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<tape::Optimizer> optimizer_;
  std::vector<BatchTensor> inputs_;
  Batch batch_;
};

Status check(const TrainingSettings& settings) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const std::pair<const char*, std::int64_t> positive[] = {
      {"the micro-batch", settings.micro_batch},
      {"the sequence length", settings.seq_len},
      {"gradient accumulation", settings.gradient_accumulation_steps},
      {"the number of steps", settings.steps},
  };
  for (const auto& [name, value] : positive)
    if (value < 1 || value > kMost)
      return usage_error(fmt::format("{} is {}; it must be from 1 to {}", name, value, kMost));
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 28;
  if (settings.lora.rank < 0 || settings.lora.rank > kMost || settings.lora.dropout < 0 || settings.lora.dropout >= 1)
    return usage_error("the rank of LoRA must be from 1 on, its dropout from 0 to below 1");
  if (settings.micro_batch * settings.seq_len > kMostTokens)
    return usage_error(
        fmt::format("{} x {} tokens are more than an estimate takes at once", settings.micro_batch, settings.seq_len));
  return Done{};
}

tape::Work difference(const tape::Work& a, const tape::Work& b) {
  return {.matmul_flops = a.matmul_flops - b.matmul_flops,
          .bytes_moved = a.bytes_moved - b.bytes_moved,
          .kernels = a.kernels - b.kernels};
}

}  // namespace

const char* training_precision_name(TrainingPrecision precision) { return name_of(kPrecisions, precision); }
Result<TrainingPrecision> parse_training_precision(const std::string& name) {
  return value_of(kPrecisions, name, "the precision");
}
const char* training_optimizer_name(TrainingOptimizer optimizer) { return name_of(kOptimizers, optimizer); }
Result<TrainingOptimizer> parse_training_optimizer(const std::string& name) {
  return value_of(kOptimizers, name, "the optimizer");
}

const char* training_phase_name(TrainingPhase phase) {
  constexpr const char* kNames[kTrainingPhases] = {"load", "forward", "loss", "backward", "optimizer step"};
  return kNames[static_cast<int>(phase)];
}

Result<TrainingTrace> trace_training(const ModelConfig& model, const TrainingSettings& settings,
                                     const tape::Hardware& hardware) {
  VRAMWISE_RETURN_IF_ERROR(check(settings));
  TrainingTrace trace;
  Tape tape(hardware);
  Run run(tape, model, settings);
  run.count_parameters(trace);
  tape::Work before = tape.work();
  for (int i = 0; i < settings.steps; ++i) {
    before = tape.work();
    run.step();
  }
  trace.step_work = difference(tape.work(), before);
  trace.workspaces = tape.cublas_workspaces();
  trace.events = tape.take_events();
  return trace;
}

Result<TrainingEstimate> estimate_training(const ModelConfig& model, const TrainingSettings& settings,
                                           const TrainingCard& card, const AllocatorOptions& options) {
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingTrace trace, trace_training(model, settings, card.hardware));
  TrainingEstimate estimate = ledger_of(trace, options);
  estimate.steps = settings.steps;
  estimate.device = estimate.reserved + card.context;
  estimate.reserved_on_card = estimate.reserved;
  if (card.total && estimate.device > *card.total) replay_on_card(trace, card, options, estimate);
  return estimate;
}

}  // namespace vramwise
