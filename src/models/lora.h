// LoRA as PEFT has it (tuners/lora/layer.py): everything is frozen, and the linear layers of some names get two factors
// each, in float32. A transform of a model's parameters: no architecture knows of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tape/tensor.h"

namespace vramwise {

class ParameterMaker;

struct LoraOptions {
  std::int64_t rank = 0;  ///< 0: no LoRA
  double dropout = 0;
  std::vector<std::string> targets{};          ///< "q_proj", …; empty: all linear layers but the head
  bool uses_dora = false;                      ///< use_dora: a magnitude for each output, and much temporary memory
  std::vector<std::string> modules_to_save{};  ///< "lm_head", "embed_tokens": trained whole, as a copy

  bool is_on() const { return rank > 0; }
  bool adapts(std::string_view layer_name) const;
  bool trains_copy_of(std::string_view layer_name) const;
};

/// The layer that factors are added to.
struct LoraBase {
  const tape::Tensor& weight;  ///< (out, in), or (in, out) where it is transposed
  const tape::Tensor& bias;
  bool is_transposed = false;  ///< fan_in_fan_out
};

/// What LoRA adds to one layer.
struct LoraFactors {
  tape::Tensor a;          ///< (rank, in)
  tape::Tensor b;          ///< (out, rank)
  tape::Tensor magnitude;  ///< of DoRA: (out)
  double dropout = 0;

  /// The layer's result for `x` with the factors' share.
  tape::Tensor added(tape::Tensor result, const tape::Tensor& x, const LoraBase& base) const;
  /// The same over a layer of 4-bit weights (tuners/lora/bnb.py).
  tape::Tensor added_to_4bit(tape::Tensor result, const tape::Tensor& x) const;

 private:
  tape::Tensor low_rank(tape::Tensor x) const;
  tape::Tensor product() const;
  tape::Tensor share_with_magnitude(const tape::Tensor& result, const tape::Tensor& x, const LoraBase& base) const;
};

}  // namespace vramwise
