// LlamaRMSNorm, by the plain ops of transformers.
#pragma once

#include "models/module.h"

namespace vramwise {

/// LlamaRMSNorm: in float32, by plain ops.
struct RmsNorm {
  Tensor weight;

  RmsNorm() = default;
  RmsNorm(ParameterMaker& maker, const char* name, std::int64_t width) : weight(maker.parameter(name, {width})) {}
  Tensor operator()(const Tensor& x) const;
};

}  // namespace vramwise
