// Shared by the operators: is this the CPU's own kernel's turn, and splitting its rows over threads.
#pragma once

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "nn/cpu_kernels.h"

namespace vramwise::internal {

bool cpu_kernels_apply(const torch::Tensor& tensor);

/// Calls function(T{}) with the C++ type of `type`.
template <typename Function>
void with_type(torch::ScalarType type, Function function) {
  switch (type) {
    case torch::kFloat:
      return function(float{});
    case torch::kBFloat16:
      return function(c10::BFloat16{});
    case torch::kHalf:
      return function(c10::Half{});
    default:
      TORCH_CHECK(false, "the decoder computes in fp32, bf16 or fp16, not in ", type);
  }
}

/// Calls function(Rows) on pieces of [0, rows) in parallel. `width`: elements a row, so that small work stays on one
/// thread.
template <typename Function>
void parallel_rows(std::int64_t rows, std::int64_t width, Function function) {
  const std::int64_t grain = std::max<std::int64_t>(1, at::internal::GRAIN_SIZE / 2 / std::max<std::int64_t>(1, width));
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) { function(cpu::Rows{begin, end}); });
}

}  // namespace vramwise::internal
