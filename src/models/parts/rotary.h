// Rotary positions (modeling_llama.py of transformers 5, and the ways in which others differ).
#pragma once

#include <utility>

#include "models/module.h"

namespace vramwise {

/// Cosines and sines of (1, length, dim).
struct RotaryTable {
  Tensor cos;
  Tensor sin;
};

/// The tables of layers that see everything and of those with a window; the same one in most models.
struct RotaryTables {
  RotaryTable full;
  RotaryTable sliding;
};

/// By which function of modeling_rope_utils.py the frequencies are computed, where it matters: on the device.
enum class RotaryType : std::uint8_t { kDefault, kLinear, kLlama3, kOther };

/// number / x, which Python takes as the reciprocal times the number.
Tensor over(const Tensor& x);
/// 1 / base ** (arange(0, dim, 2) / dim), as a model makes them on the device.
Tensor rotary_frequencies(tape::Tape& tape, std::int64_t dim, RotaryType type);

/// …RotaryEmbedding. `dim` may be less than a head's.
struct Rotary {
  enum class Kind : std::uint8_t {
    kHalves,         ///< Llama: the halves of a head turn against each other; tables in the type of `x`
    kFloat32Halves,  ///< OLMo: the same, the tables stay in float32
    kPairs,          ///< Cohere: neighbours turn against each other
  };

  Tensor inv_freq;
  Tensor original_inv_freq;
  Kind kind = Kind::kHalves;

  Rotary(ParameterMaker& maker, std::int64_t dim, Kind kind = Kind::kHalves, RotaryType type = RotaryType::kDefault);
  RotaryTable operator()(const Tensor& x, const Tensor& positions) const;

 private:
  static Tensor computed(ParameterMaker& maker, std::int64_t dim, RotaryType type);
  RotaryTable forward(const Tensor& x, const Tensor& positions) const;
};

Tensor rotate_half(const Tensor& x);

std::pair<Tensor, Tensor> apply_rotary(const Tensor& query, const Tensor& key, const RotaryTable& table);

}  // namespace vramwise
