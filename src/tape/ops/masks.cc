// ATen/native/cuda/Nonzero.cu, IndexKernel.cu (masked_scatter_, masked_select) and FunctionsManual.cpp
// (masked_scatter_backward) of PyTorch 2.14.

#include "tape/ops/masks.h"

#include "tape/ops/cub.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

// mask.nonzero(): counted first, which the host waits for, then listed, a row of positions for each dimension.
Tensor nonzero(const Tensor& mask) {
  Tape& tape = mask.tape();
  const Tensor count = tape.empty({}, DType::kInt32);
  const Tensor count_on_host = tape.pinned({}, DType::kInt32);
  {
    const Scratch sums(tape, cub::reduce_bytes(tape.hardware(), mask.numel()));
  }
  Tensor positions = tape.empty({mask.rank(), mask.numel()}, DType::kInt64);
  const Scratch flagged(tape, cub::select_flagged_bytes(tape.hardware(), mask.numel()));
  tape.count_kernel(2 * mask.bytes() + positions.bytes());
  return positions;
}

}  // namespace

Tensor masked_rows(Tensor x, Tensor mask) {
  const Drop drop(x, mask);
  Dims sizes = {mask.numel()};
  for (int i = mask.rank(); i < x.rank(); ++i) sizes.push_back(x.sizes()[i]);
  const auto make = [&] {
    const Tensor positions = nonzero(mask);
    return x.tape().empty(sizes, x.type());
  };
  return record_first(x.tape(), {&x}, {&mask}, make, [before = x.sizes()](Backward& pass) {
    const Tensor mask = pass.saved(0);
    Tensor grad = pass.tape().empty(before, pass.grad().type());
    Tensor positions = nonzero(mask);
    internal::add_at_listed(positions, mask.numel());
    pass.tape().count_kernel(grad.bytes() + 2 * pass.grad().bytes());
    pass.give(0, std::move(grad));
  });
}

Tensor masked_scatter(Tensor zeros, Tensor mask, Tensor source) {
  const Drop drop(zeros, mask, source);
  const auto make = [&] {
    Tape& tape = mask.tape();
    Tensor out = empty_like(zeros);
    const Tensor places = tape.empty(mask.sizes(), DType::kInt64);
    const Scratch scan(tape, cub::scan_bytes(mask.numel(), size_of(DType::kInt64)));
    tape.count_kernel(4 * out.bytes() + places.bytes());
    return out;
  };
  return record_first(mask.tape(), {&source}, {&mask}, make, [sizes = source.sizes()](Backward& pass) {
    const Tensor positions = nonzero(pass.saved(0));
    pass.give(0, pass.tape().empty(sizes, pass.grad().type()));
  });
}

}  // namespace vramwise::tape
