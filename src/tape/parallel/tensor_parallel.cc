// As torch/distributed/tensor of PyTorch 2.14 has it: _api.py (from_local, to_local), _redistribute.py,
// placement_types.py (_MaskPartial, Shard), and _functional_collectives.py, whose results are new tensors.

#include "tape/parallel/tensor_parallel.h"

#include <utility>

#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

// funcol.all_reduce: a copy of the share, summed in place.
Tensor all_reduced(const Tensor& share) {
  Tensor sum = share.tape().empty(share.sizes(), share.type());
  share.tape().count_kernel(2 * share.bytes());
  return sum;
}

}  // namespace

Tensor replicated(const Tensor& x) {
  Tensor seen = x.tape().view(x, x.sizes(), x.strides(), x->offset);
  return record(std::move(seen), {&x}, {}, [](Backward& pass) { pass.give(0, all_reduced(pass.grad())); });
}

Tensor summed_over_ranks(const Tensor& share) {
  return record(all_reduced(share), {&share}, {}, [](Backward& pass) { pass.give(0, pass.take_grad()); });
}

Tensor gathered_over_ranks(const Tensor& part, int ranks, std::int64_t size) {
  Tape& tape = part.tape();
  Dims sizes = part.sizes();
  sizes[sizes.size() - 1] *= ranks;
  Tensor whole;
  {
    const Tensor gathered = tape.empty({sizes.product()}, part.type());
    whole = tape.empty(sizes, part.type());  // the parts lie one behind the other, and are joined
    tape.count_kernel(4 * whole.bytes());
  }
  if (whole.size(-1) != size) {
    sizes[sizes.size() - 1] = size;
    whole = tape.empty(sizes, part.type());  // without the padding of the last rank's part
  }
  return record(std::move(whole), {&part}, {}, [share = part.sizes()](Backward& pass) {
    pass.tape().count_kernel(4 * share.product());
    pass.give(0, pass.tape().empty(share, pass.grad().type()));
  });
}

namespace {

// _MaskPartial: rows of other ranks become row 0, and their results are set to zero.
Tensor masked(const Tensor& indices, Tensor& mask) {
  {
    const Tensor below = compare(indices, 0);
    const Tensor above = compare(indices, 0);
    mask = logical_and(below, above);
  }
  const Tensor copy = clone(indices);
  return sub(copy, 0);
}

}  // namespace

Tensor embedding_of_part(const Tensor& weight, const Tensor& indices, std::int64_t entries) {
  Tensor share;
  {
    Tensor mask;
    const Tensor seen = masked(indices, mask);
    const GradMode no_grad(weight.tape(), false);
    share = embedding(weight, seen);
  }
  share = record(std::move(share), {&weight}, {&indices}, [entries](Backward& pass) {
    Tensor gradient = embedding_gradient(pass.grad(), pass.saved(0), entries);
    gradient->is_replicated = true;
    pass.give(0, std::move(gradient));
  });
  return summed_over_ranks(share);
}

}  // namespace vramwise::tape
