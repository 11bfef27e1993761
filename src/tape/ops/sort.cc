// ATen/native/cuda/Sort.cpp and SortStable.cu, SummaryOps.cu (PyTorch 2.14).

#include "tape/ops/sort.h"

#include "tape/ops/cub.h"
#include "tape/record.h"

namespace vramwise::tape {

std::pair<Tensor, Tensor> sort(Tensor x) {
  const Drop drop(x);
  Tape& tape = x.tape();
  Tensor values = tape.empty(x.sizes(), x.type());
  Tensor indices = tape.empty(x.sizes(), DType::kInt64);
  {
    // Up to 4096 elements one block sorts a copy in its shared memory; above it is a radix sort with positions beside.
    constexpr std::int64_t kOneBlock = 4096;
    const Scratch copy(tape, 8 * x.numel());
    const Scratch radix(tape, x.numel() > kOneBlock ? cub::sort_pairs_bytes(tape.hardware(), x.numel(), 64) : 0);
  }
  tape.count_kernel(2 * (values.bytes() + indices.bytes()));
  return {std::move(values), std::move(indices)};
}

Tensor histc(Tensor x, std::int64_t bins) {
  const Drop drop(x);
  Tensor counts = x.tape().empty({bins}, x.type());
  x.tape().count_kernel(x.bytes() + counts.bytes());
  return counts;
}

void put_first_(const Tensor& x, const Tensor& index, const Tensor& values) {
  x.tape().count_kernel(2 * values.bytes() + index.bytes());
}

}  // namespace vramwise::tape
