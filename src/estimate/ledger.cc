// What lasts (weights, gradients, optimizer states: flat buffers of src/train) is put down here; the step itself is
// walked through in cuda_step.cc and step_walk.cc.
#include "estimate/ledger.h"

#include <algorithm>
#include <vector>

#include "allocator/caching_allocator.h"
#include "base/check.h"
#include "estimate/cuda_step.h"
#include "estimate/lower_bound.h"
#include "estimate/step_walk.h"
#include "estimate/timeline.h"

namespace vramwise {
namespace {

constexpr std::int64_t kFp32 = 4;
constexpr std::int64_t kFp64 = 8;

// Each parameter starts at a multiple of so many elements (src/train/flat_parameters.cc).
constexpr std::int64_t kParameterAlignment = 64;

// PyTorch's CUDA caching allocator (c10/cuda/CUDACachingAllocator.cpp): blocks are multiples of 512 bytes.
constexpr std::int64_t kCudaGranule = 512;

// PyTorch aligns CPU tensors to 64 bytes, but a request is counted as it stands.
constexpr std::int64_t kCpuGranule = 1;

// One piece of each offloaded buffer is resident during the optimizer step on the CPU (src/train/offload.cc), in
// elements.
constexpr std::int64_t kOffloadPiece = std::int64_t{1} << 22;

std::int64_t flat_size_of(DecoderConfig config, std::int64_t layers) {
  config.n_layers = layers;
  std::int64_t elements = 0;
  for (const ParameterShape& shape : parameters(config))
    elements += (shape.count() + kParameterAlignment - 1) / kParameterAlignment * kParameterAlignment;
  return elements;
}

// All layers are alike, and a search asks thousands of times.
std::int64_t flat_size(const DecoderConfig& config) {
  const std::int64_t one = flat_size_of(config, 1);
  return one + (config.n_layers - 1) * (flat_size_of(config, 2) - one);
}

// A model or a batch beyond this is beyond any machine: how much it takes at least is answer enough.
constexpr Bytes kBeyondAnyMachine(std::int64_t{1} << 50);

// Steps are walked through until the allocator's segments are as the step before left them: from then on every step is
// like the last one. Few runs need more than three steps, none that was drawn more than so many.
constexpr int kMostSteps = 6;

/// Every block, by address.
std::vector<std::int64_t> layout_of(const CachingAllocator& allocator) {
  std::vector<std::int64_t> layout;
  for (const SegmentState& segment : allocator.segments()) {
    layout.push_back(segment.address);
    for (const SegmentState::Part& part : segment.parts) layout.push_back(part.allocated ? part.size : -part.size);
  }
  return layout;
}

void walk_on_cpu(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target,
                 std::int64_t states) {
  walk_step(timeline, config, settings, target);
  timeline.enter(Phase::kOptimizerStep);
  if (!settings.offload_optimizer) return;
  const Timeline::Block pieces =
      timeline.take(Owner::kOptimizerStates, Bytes(std::min(flat_size(config), kOffloadPiece) * states * kFp32));
}

/// The sequences of a step's passes: as even as can be (train/batch_order.h), the larger ones first.
struct Passes {
  std::int64_t larger = 0;  ///< 0: none
  std::int64_t smaller = 0;
  bool has_several_larger = false;
};

Passes passes_of(const StepSettings& settings, const Target& target) {
  const std::int64_t sequences = target.sequences.value_or(settings.micro_batch);
  if (sequences == 0) return {};
  const std::int64_t count = (sequences + settings.micro_batch - 1) / settings.micro_batch;
  const std::int64_t rest = sequences % count;
  return {.larger = rest > 0 ? sequences / count + 1 : 0, .smaller = sequences / count, .has_several_larger = rest > 1};
}

// One pass of each size says what all of them take, but for the first step: there a second larger one finds what the
// first one left. Ends early where `most` does not hold what the allocator has reserved.
void walk_on_cuda(Timeline& timeline, const CachingAllocator& allocator, const DecoderConfig& config,
                  const StepSettings& settings, const Target& target, Bytes most) {
  timeline.set_most_reserved(most);
  const Passes passes = passes_of(settings, target);
  std::optional<CudaMicroBatch> larger, smaller;
  if (passes.larger > 0) larger.emplace(config, settings, target, passes.larger);
  if (passes.smaller > 0) smaller.emplace(config, settings, target, passes.smaller);
  const CudaUpdate update(flat_size(config), target);
  CudaLasting lasting;
  std::vector<std::int64_t> before;
  for (int step = 0; step < kMostSteps; ++step) {
    {
      const Timeline::Block loss_sum = timeline.take(Owner::kLoss, Bytes(kFp64));
      if (larger) larger->run(timeline, lasting);
      if (larger && step == 0 && passes.has_several_larger) larger->run(timeline, lasting);
      if (smaller) smaller->run(timeline, lasting);
    }
    if (target.holds_optimizer) update.run(timeline);
    if (Bytes(allocator.stats().reserved_bytes.peak) > most) return;
    std::vector<std::int64_t> layout = layout_of(allocator);
    if (layout == before) return;
    before = std::move(layout);
  }
}

}  // namespace

const char* phase_name(Phase phase) {
  switch (phase) {
    case Phase::kForward:
      return "forward";
    case Phase::kBackward:
      return "backward";
    case Phase::kOptimizerStep:
      return "optimizer step";
    case Phase::kEvaluation:
      return "evaluation";
  }
  return "";
}

const char* owner_name(Owner owner) {
  constexpr const char* kNames[kOwners] = {"weights",         "gradients",   "optimizer states", "activations",
                                           "logits and loss", "temporaries", "workspaces"};
  return kNames[static_cast<int>(owner)];
}

Breakdown Breakdown::of(const PartBytes& bytes) {
  const auto at = [&](Owner owner) { return bytes[static_cast<std::size_t>(owner)]; };
  return {.weights = at(Owner::kWeights),
          .gradients = at(Owner::kGradients),
          .optimizer_states = at(Owner::kOptimizerStates),
          .activations = at(Owner::kActivations),
          .loss = at(Owner::kLoss),
          .temporaries = at(Owner::kTemporaries),
          .workspaces = at(Owner::kWorkspaces)};
}

Bytes Breakdown::total() const {
  return weights + gradients + optimizer_states + activations + loss + temporaries + workspaces;
}

Ledger estimate_step(const DecoderConfig& config, const StepSettings& settings, const Target& target, Bytes enough) {
  const bool cuda = target.backend == Backend::kCuda;
  const std::int64_t elements = flat_size(config);
  const std::int64_t e = precision_bytes(settings.precision);
  // fp32 weights are their own master copy, except where the optimizer works on another device.
  const std::int64_t states = !target.holds_optimizer ? 0 : e == kFp32 && !(cuda && settings.offload_optimizer) ? 2 : 3;

  Ledger ledger;
  if (cuda && least_device_bytes(config, settings, target) > kBeyondAnyMachine) {
    ledger.device = least_device_bytes(config, settings, target);
    ledger.allocated = ledger.reserved = ledger.device - target.context;
    return ledger;
  }
  CachingAllocator allocator;
  Timeline timeline(cuda ? kCudaGranule : kCpuGranule, cuda ? &allocator : nullptr);
  const Timeline::Block weights = timeline.take(Owner::kWeights, Bytes(elements) * e);
  const Timeline::Block gradients = timeline.take(Owner::kGradients, Bytes(elements) * kFp32);
  std::vector<Timeline::Block> on_device;
  for (std::int64_t i = 0; i < states && !settings.offload_optimizer; ++i)
    on_device.push_back(timeline.take(Owner::kOptimizerStates, Bytes(elements) * kFp32));
  const Bytes lasting = timeline.live();
  if (cuda) {
    walk_on_cuda(timeline, allocator, config, settings, target, enough - target.context);
  } else {
    walk_on_cpu(timeline, config, settings, target, states);
  }
  VRAMWISE_CHECK(timeline.live() == lasting);

  ledger.allocated = timeline.peak();
  ledger.phase = timeline.peak_phase();
  ledger.at_peak = timeline.at_peak();
  // Where even the model of the allocator has no room, nothing of that size exists: what is live is enough to say so.
  ledger.reserved = std::max(ledger.allocated, Bytes(allocator.stats().reserved_bytes.peak));
  ledger.device = ledger.reserved + target.context;
  if (settings.offload_optimizer) ledger.offloaded = Bytes(elements) * (states * kFp32);
  return ledger;
}

}  // namespace vramwise
