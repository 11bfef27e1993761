// The constants are those with which OpenXLA's measured table of bfloat16 products on an H100
// (xla/service/gpu/model/matmul_interpolator_data.h, 2025; 73 of its rows, from 256 × 256 to 4096 × 4096 by 256 to
// 4096) comes out best: 0.100 (root mean square of the logarithm) with tiles of 64 × 128 and 128 elements of filling,
// at the rate of gpus/data/rates.csv and 5 us for each kernel by itself; the same without tiles, 0.13.
#include "tape/work.h"

#include <algorithm>
#include <cmath>

namespace vramwise::tape {
namespace {

constexpr double kTile = 64;
constexpr double kLongTile = 128;
constexpr double kFilling = 128;  // elements of the inner dimension

double number(std::int64_t value) { return static_cast<double>(value); }

double tiles(double rows, double row_tile, double columns, double column_tile) {
  return std::ceil(rows / row_tile) * std::ceil(columns / column_tile);
}

}  // namespace

double ProductShape::flops() const { return 2 * number(batch) * number(rows) * number(columns) * number(inner); }

double ProductShape::bytes(DType type) const {
  const double numbers =
      number(rows) * number(inner) + number(inner) * number(columns) + number(rows) * number(columns);
  return number(batch) * numbers * number(size_of(type));
}

double occupied_flops(double batch, double rows, double columns, double inner, int sm_count) {
  const double fewest = std::min(tiles(rows, kLongTile, columns, kTile), tiles(rows, kTile, columns, kLongTile));
  return 2 * std::max(batch * fewest, number(sm_count)) * kTile * kLongTile * (inner + kFilling);
}

double occupied_flops(const ProductShape& shape, int sm_count) {
  return occupied_flops(number(shape.batch), number(shape.rows), number(shape.columns), number(shape.inner), sm_count);
}

void Work::add_product(const ProductShape& shape, DType type, const Hardware& hardware) {
  const bool is_wide = size_of(type) >= 4;
  const double occupied = occupied_flops(shape, hardware.sm_count);
  const double bytes = shape.bytes(type);
  matmul_flops += shape.flops();
  ++kernels;
  if (occupied < bytes * (is_wide ? hardware.flops_per_byte_fp32 : hardware.flops_per_byte_16bit)) {
    bytes_moved += static_cast<std::int64_t>(bytes);
  } else {
    (is_wide ? occupied_fp32_flops : occupied_16bit_flops) += occupied;
  }
}

Work& Work::operator+=(const Work& other) {
  matmul_flops += other.matmul_flops;
  occupied_16bit_flops += other.occupied_16bit_flops;
  occupied_fp32_flops += other.occupied_fp32_flops;
  attention_flops += other.attention_flops;
  bytes_moved += other.bytes_moved;
  kernels += other.kernels;
  return *this;
}

Work operator-(const Work& a, const Work& b) {
  return {.matmul_flops = a.matmul_flops - b.matmul_flops,
          .occupied_16bit_flops = a.occupied_16bit_flops - b.occupied_16bit_flops,
          .occupied_fp32_flops = a.occupied_fp32_flops - b.occupied_fp32_flops,
          .attention_flops = a.attention_flops - b.attention_flops,
          .bytes_moved = a.bytes_moved - b.bytes_moved,
          .kernels = a.kernels - b.kernels};
}

}  // namespace vramwise::tape
