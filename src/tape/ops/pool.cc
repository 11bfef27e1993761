// ATen/native/cuda/DilatedMaxPool2d.cu, AdaptiveAveragePooling.cpp, UpSampleNearest2d.cu.

#include "tape/ops/pool.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {

Tensor max_pool2d(Tensor x, const PoolOptions& options) {
  const Drop drop(x);
  Tape& tape = x.tape();
  Dims sizes = {x.size(0), x.size(1)};
  for (int i = 2; i < 4; ++i) sizes.push_back((x.size(i) + 2 * options.padding - options.kernel) / options.stride + 1);
  Tensor out = tape.empty(sizes, x.type());
  const Tensor indices = tape.empty(sizes, DType::kInt64);
  {
    const Tensor input = contiguous(detach(x));
    tape.count_kernel(input.bytes() + out.bytes() + indices.bytes());
  }
  return record(std::move(out), {&x}, {&x, &indices}, [](Backward& pass) {
    const Tensor x = pass.saved(0);
    Tensor grad = pass.tape().empty(x.sizes(), x.type());
    const Tensor grad_of_result = contiguous(pass.grad());
    const Tensor input = contiguous(x);
    pass.tape().count_kernel(2 * grad.bytes());
    pass.give(0, std::move(grad));
  });
}

Tensor average_pool_to_pixel(Tensor x) { return mean(std::move(x), {-1, -2}, true); }

Tensor upsample_nearest(Tensor x, std::int64_t height, std::int64_t width) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x});
  const Drop drop(x);
  Tape& tape = x.tape();
  Tensor out = tape.empty({x.size(0), x.size(1), height, width}, x.type());
  {
    const Tensor input = contiguous(detach(x));
    tape.count_kernel(input.bytes() + out.bytes());
  }
  return record(std::move(out), {&x}, {}, [sizes = x.sizes()](Backward& pass) {
    Tensor grad = pass.tape().empty(sizes, pass.grad().type());
    const Tensor grad_of_result = contiguous(pass.grad());
    pass.tape().count_kernel(grad_of_result.bytes() + grad.bytes());
    pass.give(0, std::move(grad));
  });
}

}  // namespace vramwise::tape
