// Layer, RMS and group normalisation (ATen/native/cuda/layer_norm_kernel.cu, group_norm_kernel.cu).

#include "tape/ops/norm.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

Tensor optional_contiguous(const Tensor& x) { return x.defined() ? contiguous(detach(x)) : Tensor(); }

}  // namespace

Tensor layer_norm(Tensor x, Tensor weight, Tensor bias, int dims) {
  const Drop drop(x, weight, bias);
  Tape& tape = x.tape();
  Dims rows = x.sizes();
  for (int i = 0; i < dims; ++i) rows[x.rank() - 1 - i] = 1;
  const DType kind = accumulate_type(x.type());
  const Tensor input = contiguous(detach(x));
  const Tensor gamma = optional_contiguous(weight);
  const Tensor beta = optional_contiguous(bias);
  Tensor out = tape.empty(x.sizes(), x.type());
  const Tensor mean = tape.empty(rows, kind);
  const Tensor rstd = tape.empty(rows, kind);
  tape.count_kernel(input.bytes() + out.bytes());
  return record(std::move(out), {&x, &weight, &bias}, {&bias, &x, &weight, &mean, &rstd}, [](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor bias = pass.saved(0);
    const Tensor x = pass.saved(1);
    const Tensor weight = pass.saved(2);
    const Tensor grad = contiguous(pass.grad());
    const Tensor input = contiguous(x);
    const Tensor gamma = optional_contiguous(weight);
    Tensor dx = pass.needs(0) ? tape.empty(input.sizes(), input.type()) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(gamma) : Tensor();
    Tensor dbeta = pass.needs(2) ? empty_like(bias) : Tensor();
    tape.count_kernel(3 * input.bytes());
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
    pass.give(2, std::move(dbeta));
  });
}

Tensor rms_norm(Tensor x, Tensor weight) {
  const Drop drop(x, weight);
  Tape& tape = x.tape();
  Dims rows = x.sizes();
  rows[x.rank() - 1] = 1;
  const DType kind = accumulate_type(x.type());
  const Tensor input = contiguous(detach(x));
  const Tensor gamma = optional_contiguous(weight);
  Tensor out = tape.empty(x.sizes(), x.type());
  const Tensor rstd = tape.empty(rows, kind);
  tape.count_kernel(input.bytes() + out.bytes());
  return record(std::move(out), {&x, &weight}, {&x, &weight, &rstd}, [](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor x = pass.saved(0);
    const Tensor weight = pass.saved(1);
    const Tensor grad = contiguous(pass.grad());
    const Tensor input = contiguous(x);
    const Tensor gamma = optional_contiguous(weight);
    Tensor dx = pass.needs(0) ? tape.empty(input.sizes(), input.type()) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(gamma) : Tensor();
    tape.count_kernel(3 * input.bytes());
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
  });
}

Tensor group_norm(Tensor x, int groups, Tensor weight, Tensor bias) {
  const Drop drop(x, weight, bias);
  Tape& tape = x.tape();
  const DType kind = x.type();
  const std::int64_t n = x.size(0);
  const std::int64_t c = x.size(1);
  const Tensor input = contiguous(x);
  Tensor out = tape.empty(x.sizes(), x.type());
  const Tensor mean = tape.empty({n, groups}, kind);
  const Tensor rstd = tape.empty({n, groups}, kind);
  {
    const Tensor scale = tape.empty({n, c}, kind);
    const Tensor shift = tape.empty({n, c}, kind);
  }
  tape.count_kernel(input.bytes() + out.bytes());
  return record(std::move(out), {&input, &weight, &bias}, {&input, &weight, &mean, &rstd}, [n, c](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor input = pass.saved(0);
    const Tensor weight = pass.saved(1);
    const Tensor grad = contiguous(pass.grad());
    Tensor dx = pass.needs(0) ? empty_like(input) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(weight) : Tensor();
    Tensor dbeta = pass.needs(2) ? tape.empty({c}, input.type()) : Tensor();
    const Tensor ds = tape.empty({n, c}, accumulate_type(input.type()));
    const Tensor db = tape.empty({n, c}, accumulate_type(input.type()));
    tape.count_kernel(3 * input.bytes());
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
    pass.give(2, std::move(dbeta));
  });
}

}  // namespace vramwise::tape
