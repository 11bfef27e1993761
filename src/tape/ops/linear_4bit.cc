// As bitsandbytes/functional.py, backends/cuda/ops.py (_dequant_linear_fallback) and autograd/_functions.py
// (MatMul4Bit) of 0.50.

#include "tape/ops/linear_4bit.h"

#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

constexpr std::int64_t kBlock = 64;
constexpr std::int64_t kOuterBlock = 256;

std::int64_t blocks_of(std::int64_t count, std::int64_t block) { return (count + block - 1) / block; }

Tensor mean_of_all(const Tensor& x) { return internal::reduce(x, internal::dim_bits({}, x.rank()), false, x.type()); }

// functional.dequantize_4bit, in the type that was quantized.
Tensor dequantized(const Weight4bit& weight) {
  Tape& tape = weight.packed.tape();
  Tensor scales;
  if (weight.is_nested()) scales = tape.empty(weight.scales.sizes(), DType::kFloat32);
  Tensor out = tape.empty(weight.sizes, weight.type);
  tape.count_kernel(weight.packed.bytes() + out.bytes());
  return out;
}

Tensor forward(const Tensor& x, const Weight4bit& weight, const Tensor& bias) {
  Tape& tape = x.tape();
  Tensor scales;
  Tensor absolute;
  if (weight.is_nested()) {
    scales = tape.empty(weight.scales.sizes(), DType::kFloat32);
    absolute = scales + weight.offset;
  }
  Tensor matrix = tape.empty(weight.sizes, x.type());
  tape.count_kernel(weight.packed.bytes() + matrix.bytes());
  Tensor out = linear(x, matrix, bias);
  absolute.reset();
  scales.reset();
  matrix.reset();
  return out;
}

}  // namespace

Weight4bit quantize_4bit(Tape& tape, const Dims& sizes, DType type, bool is_nested, Tensor& map) {
  const GradMode no_grad(tape, false);
  Weight4bit w;
  w.sizes = sizes;
  w.type = type;
  const Tensor plain = tape.empty(sizes, type);
  const std::int64_t count = sizes.product();
  w.scales = tape.empty({blocks_of(count, kBlock)}, DType::kFloat32);
  w.packed = tape.empty({(count + 1) / 2, 1}, DType::kUInt8);
  w.code = tape.empty({16}, DType::kFloat32);
  {
    const Tensor absolute = empty_like(w.code);
    const Tensor largest = tape.empty({}, DType::kFloat32);
  }
  if (!is_nested) return w;
  const Tensor scales = std::move(w.scales);
  w.offset = mean_of_all(scales);
  const Tensor centred = scales - w.offset;
  if (!map.defined()) map = tape.empty({256}, DType::kFloat32);
  w.outer_scales = tape.empty({blocks_of(scales.numel(), kOuterBlock)}, DType::kFloat32);
  w.scales = tape.empty(scales.sizes(), DType::kUInt8);
  w.outer_code = empty_like(map);
  return w;
}

Tensor linear_4bit(Tensor x, const Weight4bit& weight, Tensor bias) {
  const Drop drop(x, bias);
  Tensor out;
  {
    const GradMode no_grad(x.tape(), false);
    out = forward(x, weight, bias);
  }
  return record(out, {&x, &bias}, {}, [w = &weight](Backward& b) {
    if (!b.needs(0)) return;
    const Tensor matrix = to(dequantized(*w), b.grad().type());
    b.give(0, matmul(b.grad(), matrix));
  });
}

}  // namespace vramwise::tape
