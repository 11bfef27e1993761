// Linear layers whose weights bitsandbytes 0.50 keeps in 4 bits (NF4 and FP4 take the same memory).
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

/// A quantized matrix: packed elements, a scale for each block of 64, which double quantization keeps in 8 bits.
struct Weight4bit {
  Tensor packed;                  ///< uint8, two elements each
  Tensor scales;                  ///< absmax: float32, or uint8 under double quantization
  Tensor code;                    ///< the 16 values
  Tensor offset;                  ///< under double quantization: mean of the scales
  Tensor outer_scales;            ///< float32, one for each block of 256 scales
  Tensor outer_code;              ///< the 256 values of 8 bits
  Dims sizes;                     ///< (out, in)
  DType type = DType::kBFloat16;  ///< of what was quantized

  bool is_nested() const { return offset.defined(); }
};

/// Params4bit._quantize: a matrix comes to the device as it is and is quantized there. `map` is bitsandbytes' table for
/// 8 bits, which all weights of a process share; it appears with the first.
Weight4bit quantize_4bit(Tape& tape, const Dims& sizes, DType type, bool is_nested, Tensor& map);

/// bitsandbytes.matmul_4bit: nothing of `x` is saved, and the weight is dequantized for a moment in both passes. (For a
/// few hundred rows a fused kernel may run instead, which takes no such temporary: this is then too much.) The weight
/// must outlive the graph.
Tensor linear_4bit(Tensor x, const Weight4bit& weight, Tensor bias);

}  // namespace vramwise::tape
