// A language model as a training script sees it: token ids in, loss out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/module.h"

namespace vramwise {

/// attn_implementation of transformers.
enum class Attention : std::uint8_t { kSdpa, kEager };

/// What of a model's forward pass is the run's choice, not the architecture's.
struct ForwardOptions {
  Attention attention = Attention::kSdpa;
  bool checkpoints_layers = false;  ///< gradient_checkpointing_enable(): every layer
  bool uses_cache = true;           ///< use_cache of the configuration; off under checkpointing
  LoraOptions lora{};
  std::optional<std::uint32_t> loss_mark{};  ///< a mark of the tape that stands where logits and loss begin
};

class CausalLm {
 public:
  virtual ~CausalLm() = default;
  /// model(input_ids=…, labels=…).loss. Both (batch, length) int64. The result keeps alive what the caller's `outputs`
  /// would: nothing, as scripts take the loss only.
  virtual Tensor loss(const Tensor& input_ids, const Tensor& labels) = 0;
  virtual const std::vector<Tensor>& parameters() const = 0;
};

}  // namespace vramwise
