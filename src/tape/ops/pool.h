// Pooling and resizing of images, (n, c, h, w).
#pragma once

#include <cstdint>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

struct PoolOptions {
  std::int64_t kernel = 2;
  std::int64_t stride = 2;
  std::int64_t padding = 0;
};

/// torch.nn.functional.max_pool2d.
Tensor max_pool2d(Tensor x, const PoolOptions& options);
/// torch.nn.functional.adaptive_avg_pool2d to one pixel: a mean.
Tensor average_pool_to_pixel(Tensor x);
/// torch.nn.functional.interpolate, mode "nearest", to `height` × `width`.
Tensor upsample_nearest(Tensor x, std::int64_t height, std::int64_t width);

}  // namespace vramwise::tape
