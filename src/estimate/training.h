// A training run of a Hugging Face model on one card, allocation by allocation: the step runs on shapes (src/tape), and
// what it allocates is replayed through the model of PyTorch's caching allocator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "allocator/replay.h"
#include "base/bytes.h"
#include "base/result.h"
#include "estimate/ledger.h"
#include "estimate/optimizer_choice.h"
#include "models/config.h"
#include "models/parallel_model.h"
#include "tape/tape.h"

namespace vramwise {

/// What weights are and what is computed in. Mixed: float32 weights under torch.autocast.
/// With fp16 that comes with a GradScaler.
enum class TrainingPrecision : std::uint8_t { kFp32, kBf16, kFp16, kBf16Mixed, kFp16Mixed };
const char* training_precision_name(TrainingPrecision precision);  ///< "fp32", "bf16", "fp16", "bf16-mixed", …
Result<TrainingPrecision> parse_training_precision(const std::string& name);

/// "sdpa", "eager", "flash_attention_2": attn_implementation.
Result<Attention> parse_attention(const std::string& name);

struct TrainingSettings {
  std::int64_t micro_batch = 1;   ///< sequences a forward pass
  std::int64_t seq_len = 1024;    ///< tokens a sequence
  std::int64_t target_len = 128;  ///< tokens that an encoder-decoder is to write
  std::int64_t image_size = 0;    ///< pixels, both ways; 0: what the model is made for
  std::int64_t gradient_accumulation_steps = 1;
  TrainingPrecision precision = TrainingPrecision::kBf16;
  TrainingOptimizer optimizer = TrainingOptimizer::kAdamW;
  Attention attention = Attention::kSdpa;
  Checkpointing checkpointing{};
  bool clips_gradients = true;
  LossKind loss = LossKind::kWhole;
  /// Accelerate, on which transformers' Trainer runs: what a language model returns under autocast is copied to
  /// float32.
  bool copies_outputs = false;
  bool uses_cache = true;  ///< use_cache of the model's configuration, which is off under checkpointing
  Quantization quantization = Quantization::kNone;  ///< of the frozen weights under LoRA
  LoraOptions lora{};                               ///< off: every parameter is trained
  /// Over cards that are alike. The types of fully_shard follow from the precision: mixed ones store and reduce
  /// float32, and compute in 16 bits.
  ParallelOptions parallel{};
  bool runs_tune_recipe = false;  ///< the loop is that of torchtune's recipes (tune_recipe.h), and so is the model
  bool repeats = true;  ///< layers and steps that are alike run once; without it the answer is the same, but slower
  /// Whether the events of what is repeated are in the trace's list too; without, trace.repeats alone tells of them,
  /// which does for reserved_within().
  bool writes_repeats = true;
  bool updates = true;  ///< false: passes alone, whose step ends before its update
  int steps = 3;        ///< from the second on optimizer states are there; in the third the cache can still grow
};

enum class TrainingPhase : std::uint8_t { kLoad, kForward, kLoss, kBackward, kOptimizerStep };
inline constexpr int kTrainingPhases = 5;
const char* training_phase_name(TrainingPhase phase);

/// The events of a run, each phase begun by a mark with its number.
struct TrainingTrace {
  EventList events;
  std::vector<AllocationId> workspaces;  ///< those of cuBLAS
  std::vector<std::size_t> gathered;     ///< indices of events: parameters that fully_shard gathers
  std::vector<std::size_t> buckets;      ///< indices of events: where DistributedDataParallel sums gradients
  std::int64_t parameters = 0;           ///< numbers in the model's parameters, tied ones once
  std::int64_t trained_parameters = 0;   ///< of those that want a gradient
  std::int64_t host_managed_bytes = 0;   ///< memory of the host that CUDA pages in: states of paged optimizers
  std::int64_t host_pinned_bytes = 0;    ///< page-locked, as PyTorch caches it: offloaded shards and gradients
  std::int64_t host_pageable_bytes = 0;  ///< ordinary memory of the host: states of offloaded parameters
  tape::Work step_work;                  ///< of one optimizer step
  tape::Work first_pass;                 ///< of that, the first forward and backward pass
  tape::Work last_pass;                  ///< and the last; those between them are like it
  int rank = 0;                          ///< whose memory this is
  bool has_estimates = false;            ///< some sizes are not PyTorch's own: scratch of convolutions
  bool has_unlike_layers = false;
  struct {
    int layers = 0;  ///< forward and backward passes of layers
    int steps = 0;
    int passes = 0;        ///< of the steps that were not repeated
    EventRepeat events{};  ///< of the step that was repeated
  } repeats;               ///< what was not run, but repeated
};

/// A card as the estimate sees it.
struct TrainingCard {
  tape::Hardware hardware;
  std::optional<Bytes> total;  ///< as CUDA sees it; absent: whether the run fits is not asked
  Bytes context{};             ///< CUDA's context, outside the allocator
  Bytes communicator{};        ///< NCCL's buffers, outside the allocator
};

struct TrainingEstimate {
  Bytes allocated{};  ///< peak of live tensors, in the allocator's granules, on a card without end
  Bytes reserved{};   ///< peak of what the allocator holds, on the same
  Bytes device{};     ///< reserved + context + communicator
  TrainingPhase phase = TrainingPhase::kForward;  ///< of the allocated peak
  Breakdown at_peak;                              ///< with `unsplit` it sums up to `allocated`
  Bytes unsplit{};                                ///< what blocks are larger than what was asked of them
  Bytes phase_allocated[kTrainingPhases] = {};    ///< the peak of each phase
  std::int64_t parameters = 0;
  std::int64_t trained_parameters = 0;
  int steps = 0;         ///< that were run
  int rank = 0;          ///< whose memory this is
  Bytes host_managed{};  ///< memory of the host that CUDA pages in: states of paged optimizers
  Bytes host_pinned{};   ///< see TrainingTrace
  Bytes host_pageable{};
  bool has_estimates = false;  ///< see TrainingTrace
  tape::Work step_work;

  bool fits = true;  ///< on the card; where its size isn't known, on one of DeviceMemoryLimits::kUnlimited
  std::int64_t allocation_retries = 0;
  std::optional<ReplayOutOfMemory> out_of_memory;
  std::optional<TrainingPhase> out_of_memory_phase;
  Bytes reserved_on_card{};  ///< peak on the card's own size; the allocator gives cached memory back when it is short
};

/// Errors: settings that are not positive or whose products leave 64 bits.
Result<TrainingTrace> trace_training(const ModelConfig& model, const TrainingSettings& settings,
                                     const tape::Hardware& hardware);
Result<TrainingEstimate> estimate_training(const ModelConfig& model, const TrainingSettings& settings,
                                           const TrainingCard& card, const AllocatorOptions& options = {});

}  // namespace vramwise
