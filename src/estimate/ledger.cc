// What lasts (weights, gradients, optimizer states: flat buffers of src/train) is put down here; the step itself is
// walked through in step_walk.cc.
#include "estimate/ledger.h"

#include <algorithm>

#include "allocator/caching_allocator.h"
#include "base/check.h"
#include "estimate/step_walk.h"
#include "estimate/timeline.h"

namespace vramwise {
namespace {

constexpr std::int64_t kFp32 = 4;

// Each parameter starts at a multiple of so many elements (src/train/flat_parameters.cc).
constexpr std::int64_t kParameterAlignment = 64;

// PyTorch's CUDA caching allocator (c10/cuda/CUDACachingAllocator.cpp): blocks are multiples of 512 bytes.
constexpr std::int64_t kCudaGranule = 512;

// PyTorch aligns CPU tensors to 64 bytes, but a request is counted as it stands.
constexpr std::int64_t kCpuGranule = 1;

// One piece of each offloaded buffer is resident during the optimizer step on the CPU (src/train/offload.cc), in
// elements.
constexpr std::int64_t kOffloadPiece = std::int64_t{1} << 22;

std::int64_t flat_size(const DecoderConfig& config) {
  std::int64_t elements = 0;
  for (const ParameterShape& shape : parameters(config))
    elements += (shape.count() + kParameterAlignment - 1) / kParameterAlignment * kParameterAlignment;
  return elements;
}

void walk_optimizer_step(Timeline& timeline, std::int64_t elements, std::int64_t buffers, const StepSettings& settings,
                         Backend backend) {
  timeline.enter(Phase::kOptimizerStep);
  if (!settings.offload_optimizer || backend != Backend::kCpu) return;
  const Timeline::Block pieces =
      timeline.take(Owner::kOptimizerStates, Bytes(std::min(elements, kOffloadPiece) * buffers * kFp32));
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

Ledger estimate_step(const DecoderConfig& config, const StepSettings& settings, const Target& target) {
  const bool cuda = target.backend == Backend::kCuda;
  const std::int64_t elements = flat_size(config);
  const std::int64_t e = precision_bytes(settings.precision);
  // fp32 weights are their own master copy, except where the optimizer works on another device.
  const std::int64_t states = !target.holds_optimizer ? 0 : e == kFp32 && !(cuda && settings.offload_optimizer) ? 2 : 3;

  CachingAllocator allocator;
  Timeline timeline(cuda ? kCudaGranule : kCpuGranule, cuda ? &allocator : nullptr);
  const Timeline::Block weights = timeline.take(Owner::kWeights, Bytes(elements) * e);
  const Timeline::Block gradients = timeline.take(Owner::kGradients, Bytes(elements) * kFp32);
  const Bytes optimizer = Bytes(elements) * (states * kFp32);
  Timeline::Block on_device;
  if (!settings.offload_optimizer) on_device = timeline.take(Owner::kOptimizerStates, optimizer);
  const Bytes lasting = timeline.live();
  Workspaces workspaces;

  // The second step finds the segments that the first one left, and may need more of them.
  for (int step = 0; step < (cuda ? 2 : 1); ++step) {
    walk_step(timeline, config, settings, target, workspaces);
    walk_optimizer_step(timeline, elements, states, settings, target.backend);
    VRAMWISE_CHECK(timeline.live() <= lasting + target.workspaces.rounded_up(Bytes(2 * kCudaGranule)));
  }

  Ledger ledger;
  ledger.allocated = timeline.peak();
  ledger.phase = timeline.peak_phase();
  ledger.at_peak = timeline.at_peak();
  // Where even the model of the allocator has no room, nothing of that size exists: what is live is enough to say so.
  ledger.reserved = std::max(ledger.allocated, Bytes(allocator.stats().reserved_bytes.peak));
  ledger.device = ledger.reserved + target.context;
  if (settings.offload_optimizer) ledger.offloaded = optimizer;
  return ledger;
}

}  // namespace vramwise
