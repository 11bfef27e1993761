// Convolutions of images by cuDNN.
#pragma once

#include <cstdint>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

struct ConvolutionOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
};

/// torch.nn.functional.conv2d of one group. x: (n, c, h, w); weight: (out, c, height, width). An undefined bias is
/// none.
Tensor conv2d(Tensor x, Tensor weight, Tensor bias = {}, const ConvolutionOptions& options = {});

namespace internal {

/// What a convolution lies between: both sides in (n, c, h, w), all of `type`.
struct ConvolutionShape {
  Dims x;
  Dims y;
  Dims weight;
  DType type = DType::kFloat32;
};

/// The scratch memory that cuDNN asks for, in bytes: an estimate (see the .cc).
std::int64_t convolution_workspace(const ConvolutionShape& shape);

}  // namespace internal
}  // namespace vramwise::tape
