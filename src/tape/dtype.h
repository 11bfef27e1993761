// The element types of tensors, as far as memory is concerned: size, kind, and which one two of them make together.
#pragma once

#include <cstdint>

namespace vramwise::tape {

enum class DType : std::uint8_t { kBool, kUInt8, kInt8, kInt32, kInt64, kFloat16, kBFloat16, kFloat32, kFloat64 };

/// Bytes of one element.
constexpr std::int64_t size_of(DType type) {
  switch (type) {
    case DType::kBool:
    case DType::kUInt8:
    case DType::kInt8:
      return 1;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
    case DType::kInt32:
    case DType::kFloat32:
      return 4;
    case DType::kInt64:
    case DType::kFloat64:
      return 8;
  }
  return 0;
}

constexpr bool is_floating(DType type) { return type >= DType::kFloat16; }
constexpr bool is_half(DType type) { return type == DType::kFloat16 || type == DType::kBFloat16; }

/// The type in which CUDA kernels compute with elements of `type` (at::acc_type, at::opmath_type).
constexpr DType accumulate_type(DType type) { return is_half(type) ? DType::kFloat32 : type; }

/// torch.promote_types. Two different 16-bit floats make a float32; uint8 and int8 would make an int16, which no op
/// here has use for, and are taken as int32.
constexpr DType promote(DType a, DType b) {
  if (a == b) return a;
  if (is_floating(a) != is_floating(b)) return is_floating(a) ? a : b;
  if (is_half(a) && is_half(b)) return DType::kFloat32;
  if ((a == DType::kUInt8 && b == DType::kInt8) || (a == DType::kInt8 && b == DType::kUInt8)) return DType::kInt32;
  return a > b ? a : b;
}

}  // namespace vramwise::tape
