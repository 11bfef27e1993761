// Work: the arithmetic and the traffic of what a tape was told to compute.
#pragma once

#include <cstdint>

#include "tape/dtype.h"
#include "tape/hardware.h"

namespace vramwise::tape {

/// (batch, rows, inner) × (batch, inner, columns), or a kernel that does as much.
struct ProductShape {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t inner = 0;

  double flops() const;            ///< multiply and add are two
  double bytes(DType type) const;  ///< of both factors and the result, each once
};

/// What the multiprocessors' time would have done at full rate while they compute this product: the result is cut into
/// tiles, a tile at the edge takes as long as any, each begins by filling its pipeline, and where there are fewer tiles
/// than multiprocessors some have nothing to do.
double occupied_flops(double batch, double rows, double columns, double inner, int sm_count);
double occupied_flops(const ProductShape& shape, int sm_count);

/// What has been computed so far; differences of it are the work of a phase.
struct Work {
  double matmul_flops = 0;          ///< of matrix products
  double occupied_16bit_flops = 0;  ///< occupied_flops() of those in 16 bits that arithmetic bounds
  double occupied_fp32_flops = 0;   ///< the same in fp32
  double attention_flops = 0;       ///< of fused attention kernels; causal ones compute half of the scores
  std::int64_t bytes_moved = 0;     ///< device memory read and written by all kernels that arithmetic doesn't bound
  std::int64_t kernels = 0;

  void add_product(const ProductShape& shape, DType type, const Hardware& hardware);
  Work& operator+=(const Work& other);
  bool operator==(const Work&) const = default;
};

Work operator-(const Work& a, const Work& b);

}  // namespace vramwise::tape
