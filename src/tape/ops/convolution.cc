// Convolutions as ATen/native/Convolution.cpp and cudnn/Conv_v8.cpp of PyTorch 2.14 run them: benchmark off, tensors
// stored as (n, c, h, w). The gradients are computed one after the other: of the input, of the weight, of the bias.
//
// Which kernel runs, and how much scratch it takes, is cuDNN's own heuristics, which NVIDIA does not publish. What most
// of its answers have in common for such tensors: the kernels of tensor cores want channels innermost, in runs of 16
// bytes, so both operands and the result are copied into the workspace in that layout. A weight of 1 × 1 lies so
// already. The rest (partial sums of weight gradients, kernels that need no copies) is not modelled.

#include "tape/ops/convolution.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

std::int64_t channels_last_bytes(const Dims& sizes, int channels_at, DType type) {
  const std::int64_t run = 16 / size_of(type);
  const std::int64_t channels = sizes[channels_at];
  return sizes.product() / channels * ((channels + run - 1) / run * run) * size_of(type);
}

// The product that an implicit GEMM computes; those of the gradients are as large.
ProductShape product_of(const internal::ConvolutionShape& shape) {
  const std::int64_t channels = shape.weight[0];
  return {.rows = shape.y.product() / channels, .columns = channels, .inner = shape.weight.product() / channels};
}

// One pass: forward, or one of the gradients.
void run_kernel(Tape& tape, const internal::ConvolutionShape& shape) {
  tape.estimate_next();
  const Scratch workspace(tape, internal::convolution_workspace(shape));
  tape.count_product(product_of(shape), shape.type);
}

// Of the input and of the weight, with the copies of operands that are not contiguous.
void gradients_by_kernel(Backward& pass, const internal::ConvolutionShape& shape) {
  Tape& tape = pass.tape();
  const Tensor x = pass.saved(0);
  const Tensor input = pass.needs(1) ? contiguous(x) : Tensor();
  // A gradient that lies channels innermost is copied once for both, any other is copied twice.
  const bool lies_otherwise = suggests_channels_last(pass.grad().sizes(), pass.grad().strides());
  const Tensor gradient = lies_otherwise ? contiguous(pass.grad()) : pass.grad();
  if (pass.needs(0)) {
    pass.give(0, tape.empty(shape.x, shape.type));
    const Tensor grad = contiguous(gradient);
    run_kernel(tape, shape);
  }
  if (pass.needs(1)) {
    const Tensor grad = contiguous(gradient);
    pass.give(1, tape.empty(shape.weight, shape.type));
    run_kernel(tape, shape);
  }
}

Dims result_sizes(const Tensor& x, const Tensor& weight, const ConvolutionOptions& options) {
  Dims sizes = {x.size(0), weight.size(0)};
  for (int i = 2; i < 4; ++i) sizes.push_back((x.size(i) + 2 * options.padding - weight.size(i)) / options.stride + 1);
  return sizes;
}

}  // namespace

std::int64_t internal::convolution_workspace(const ConvolutionShape& shape) {
  const bool copies_weight = shape.weight[2] * shape.weight[3] > 1;
  const std::int64_t weight = channels_last_bytes(shape.weight, 1, shape.type);
  constexpr std::int64_t kAlignment = 16;
  return channels_last_bytes(shape.x, 1, shape.type) + channels_last_bytes(shape.y, 1, shape.type) +
         (copies_weight ? weight : 0) + kAlignment;
}

Tensor conv2d(Tensor x, Tensor weight, Tensor bias, const ConvolutionOptions& options) {
  const auto policy = AutocastPolicy::lower(x.tape(), {&x, &weight, &bias});
  const Drop drop(x, weight, bias);
  VRAMWISE_CHECK(x.rank() == 4 && weight.rank() == 4 && x.size(1) == weight.size(1));
  const internal::ConvolutionShape shape{
      .x = x.sizes(), .y = result_sizes(x, weight, options), .weight = weight.sizes(), .type = x.type()};
  const auto make = [&] {
    const Tensor input = contiguous(detach(x));
    Tensor out = x.tape().empty(shape.y, x.type());
    run_kernel(x.tape(), shape);
    return out;
  };
  return record_first(x.tape(), {&x, &weight, &bias}, {&x, &weight}, make, [shape](Backward& pass) {
    if (pass.needs(0) || pass.needs(1)) gradients_by_kernel(pass, shape);
    if (pass.needs(2)) pass.give(2, sum(pass.grad(), {0, 2, 3}));
  });
}

}  // namespace vramwise::tape
