// RMS norms, by the plain ops of transformers; they differ in where the weight is applied.
#pragma once

#include "models/module.h"

namespace vramwise {

/// LlamaRMSNorm: weight · (normalized, in the type of x).
struct RmsNorm {
  Tensor weight;

  RmsNorm() = default;
  RmsNorm(ParameterMaker& maker, const char* name, std::int64_t width) : weight(maker.parameter(name, {width})) {}
  Tensor operator()(const Tensor& in) const;
};

/// Gemma…RMSNorm: (normalized · (1 + weight)), all in float32.
struct GemmaRmsNorm : RmsNorm {
  using RmsNorm::RmsNorm;
  Tensor operator()(const Tensor& x) const;
};

/// Olmo2RMSNorm: (weight · normalized), in float32.
struct Olmo2RmsNorm : RmsNorm {
  using RmsNorm::RmsNorm;
  Tensor operator()(const Tensor& x) const;
};

}  // namespace vramwise
