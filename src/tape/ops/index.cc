// Ops that look things up, and their scratch: sorting for the gradient of an embedding, cub's temporary storage.

#include "tape/ops/index.h"

#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"

namespace vramwise::tape {

Tensor embedding(Tensor weight, Tensor indices) {
  const Drop drop(weight, indices);
  Tape& tape = weight.tape();
  Dims sizes = indices.sizes();
  sizes.push_back(weight.size(1));
  Tensor out = tape.empty(sizes, weight.type());
  tape.count_kernel(2 * out.bytes() + indices.bytes());
  return record(std::move(out), {&weight}, {&indices}, [rows = weight.size(0)](Backward& pass) {
    const Tensor saved = pass.saved(0);
    const Tensor indices = contiguous(saved);
    const Tensor grad = contiguous(pass.grad());
    Tensor out = pass.tape().empty({rows, grad.size(-1)}, grad.type());
    pass.tape().count_kernel(grad.bytes() + 2 * out.bytes());
    pass.give(0, std::move(out));
  });
}

Tensor dropout(Tensor x, double p, bool training) {
  const Drop drop(x);
  if (p == 0 || !training || x.numel() == 0) return x;
  Tape& tape = x.tape();
  const Tensor mask = internal::elementwise({&x}, DType::kBool);
  Tensor out = internal::elementwise({&x}, x.type());
  tape.count_kernel(2 * x.bytes() + mask.bytes());
  return record(std::move(out), {&x}, {&mask}, [](Backward& pass) {
    const Tensor mask = pass.saved(0);
    pass.give(0, internal::elementwise({&pass.grad(), &mask}, pass.grad().type()));
  });
}

Tensor where(Tensor condition, Tensor a, Tensor b) {
  const Drop drop(condition, a, b);
  Tensor out = internal::elementwise({&condition, &a, &b}, result_type(a, b));
  return record(std::move(out), {&a, &b}, {&condition}, [](Backward& pass) {
    const Tensor condition = pass.saved(0);
    if (pass.needs(1)) pass.give(1, where(condition, pass.grad(), 0.0));
    if (pass.needs(0)) pass.give(0, where(condition, pass.grad(), 0.0));
  });
}

Tensor where(Tensor condition, Tensor a, Scalar) {
  const Drop drop(condition, a);
  Tensor out = internal::elementwise({&condition, &a}, a.type());
  return record(std::move(out), {&a}, {&condition}, [](Backward& pass) {
    const Tensor condition = pass.saved(0);
    pass.give(0, where(condition, pass.grad(), 0.0));
  });
}

Tensor masked_fill(Tensor x, Tensor mask, Scalar) {
  const Drop drop(x, mask);
  const Dims sizes = broadcast(x.sizes(), mask.sizes());
  Tensor out = x.tape().empty(sizes, x.type());
  x.tape().count_kernel(2 * out.bytes());
  return record(std::move(out), {&x}, {&mask}, [](Backward& pass) {
    const Tensor mask = pass.saved(0);
    pass.give(0, masked_fill(pass.grad(), mask, 0.0));
  });
}

Tensor compare(Tensor a, Tensor b) {
  const Drop drop(a, b);
  return internal::elementwise({&a, &b}, DType::kBool);
}

Tensor compare(Tensor a, Scalar) {
  const Drop drop(a);
  return internal::elementwise({&a}, DType::kBool);
}

Tensor cumsum(Tensor x, int dim) {
  const Drop drop(x);
  Tensor out = x.tape().empty(x.sizes(), is_floating(x.type()) ? x.type() : DType::kInt64);
  return record(std::move(out), {&x}, {}, [dim](Backward& pass) { pass.give(0, cumsum(pass.grad(), dim)); });
}

Tensor gather(Tensor x, int dim, Tensor index) {
  const Drop drop(x, index);
  Tensor out = x.tape().empty(index.sizes(), x.type());
  x.tape().count_kernel(2 * out.bytes() + index.bytes());
  return record(std::move(out), {&x}, {&index}, [sizes = x.sizes(), dim](Backward& pass) {
    const Tensor index = pass.saved(0);
    (void)dim;
    Tensor grad = pass.tape().empty(sizes, pass.grad().type());
    pass.give(0, std::move(grad));
  });
}

Tensor index_select(Tensor x, int dim, Tensor index) {
  const Drop drop(x, index);
  Dims sizes = x.sizes();
  sizes[wrap_dim(dim, x.rank())] = index.numel();
  Tensor out = x.tape().empty(sizes, x.type());
  return record(std::move(out), {&x}, {&index}, [before = x.sizes()](Backward& pass) {
    const Tensor index = pass.saved(0);
    pass.give(0, pass.tape().empty(before, pass.grad().type()));
  });
}

Tensor index_first(Tensor x, Tensor index) {
  const Drop drop(x, index);
  Dims sizes = index.sizes();
  for (int i = 1; i < x.rank(); ++i) sizes.push_back(x.sizes()[i]);
  Tensor out = x.tape().empty(sizes, x.type());
  return record(std::move(out), {&x}, {&index}, [before = x.sizes()](Backward& pass) {
    const Tensor index = pass.saved(0);
    pass.give(0, pass.tape().empty(before, pass.grad().type()));
  });
}

std::pair<Tensor, Tensor> topk(Tensor x, std::int64_t k, int dim) {
  const Drop drop(x);
  Dims sizes = x.sizes();
  sizes[wrap_dim(dim, x.rank())] = k;
  Tensor values = x.tape().empty(sizes, x.type());
  Tensor indices = x.tape().empty(sizes, DType::kInt64);
  return {record(std::move(values), {&x}, {&indices},
                 [before = x.sizes()](Backward& pass) {
                   const Tensor index = pass.saved(0);
                   pass.give(0, pass.tape().empty(before, pass.grad().type()));
                 }),
          indices};
}

Tensor arange(Tape& tape, std::int64_t count, DType type) { return tape.empty({count}, type); }
Tensor full(Tape& tape, const Dims& sizes, DType type) { return tape.empty(sizes, type); }

}  // namespace vramwise::tape
