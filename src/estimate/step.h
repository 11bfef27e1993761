// How one training step is carried out: the knobs that decide its memory. The trainer obeys them; the estimate predicts
// them.
#pragma once

#include <cstdint>
#include <string>

#include "base/json_fwd.h"
#include "base/result.h"

namespace vramwise {

/// What the forward and backward pass compute in. 16-bit: weights and activations are 16-bit, the optimizer keeps an
/// fp32 master copy, gradients are summed in fp32. fp16 scales the loss dynamically.
enum class Precision { kFp32, kBf16, kFp16 };

const char* precision_name(Precision precision);  ///< "fp32", "bf16", "fp16"
Result<Precision> parse_precision(const std::string& name);
std::int64_t precision_bytes(Precision precision);  ///< bytes an element: 4 or 2

struct StepSettings {
  std::int64_t micro_batch = 1;  ///< sequences a forward pass, per device
  std::int64_t seq_len = 256;    ///< tokens a sequence
  std::int64_t gradient_accumulation_steps = 1;
  Precision precision = Precision::kFp32;
  /// The first K blocks keep only their input and are computed again in the backward pass; 0: none, n_layers: all.
  std::int64_t checkpointed_blocks = 0;
  /// The loss takes so many tokens at a time, so that logits of (loss_chunk_tokens, vocab_size) are the largest that
  /// exist.
  std::int64_t loss_chunk_tokens = 1024;
  /// Master weights and Adam moments live one tier below the device: in host memory for a GPU, in a mapped file for the
  /// CPU.
  bool offload_optimizer = false;

  bool operator==(const StepSettings&) const = default;
};

/// The settings that each of several cards may have its own of, beside its micro-batch: what is computed stays the same
/// but for rounding.
struct CardKnobs {
  std::int64_t checkpointed_blocks = 0;
  std::int64_t loss_chunk_tokens = 1024;

  bool operator==(const CardKnobs&) const = default;
};

CardKnobs knobs_of(const StepSettings& settings);
StepSettings with_knobs(const StepSettings& settings, const CardKnobs& knobs);

Json to_json(const StepSettings& settings);
Result<StepSettings> step_settings_from_json(const Json& json);

}  // namespace vramwise
