// Layer, RMS, batch and group normalisation (ATen/native/cuda/layer_norm_kernel.cu, group_norm_kernel.cu, cudnn/
// BatchNorm.cpp).

#include "tape/ops/norm.h"

#include <algorithm>

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

// Temporaries are released in the order in which they stand here, where ATen returns them in a tuple.
void release_in_order(Tensor& a, Tensor& b) {
  a.reset();
  b.reset();
}

// The gradients of weight and bias. With many more rows than columns they are summed in blocks of rows first
// (LaunchGammaBetaBackwardCUDAKernel); RMS normalisation has no bias.
void column_sums(Tensor* dgamma, Tensor* dbeta, std::int64_t rows, std::int64_t columns, Tape& tape) {
  if (rows <= std::int64_t{64} * 1024 || columns / 32 >= tape.hardware().sm_count / 2) return;
  const std::int64_t blocks_x = (columns + 31) / 32;
  const std::int64_t blocks_y = std::min(std::int64_t{32} * 1024 / blocks_x, (rows + 31) / 32);
  const auto blocks_for = [&](const Tensor* result) {
    return result == nullptr || !result->defined() ? Tensor()
                                                   : tape.empty({blocks_y, result->size(-1)}, result->type());
  };
  const Tensor gamma_blocks = blocks_for(dgamma);
  const Tensor beta_blocks = blocks_for(dbeta);
  if (gamma_blocks.defined()) *dgamma = sum(gamma_blocks, {0});
  if (beta_blocks.defined()) *dbeta = sum(beta_blocks, {0});
}

Tensor optional_contiguous(const Tensor& x) { return x.defined() ? contiguous(detach(x)) : Tensor(); }

}  // namespace

Tensor layer_norm(Tensor x, Tensor weight, Tensor bias, int dims) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x, &weight, &bias});
  const Drop drop(x, weight, bias);
  Tape& tape = x.tape();
  Dims rows = x.sizes();
  for (int i = 0; i < dims; ++i) rows[x.rank() - 1 - i] = 1;
  const DType kind = accumulate_type(x.type());
  Tensor out;
  Tensor mean;
  Tensor rstd;
  {
    const Tensor input = contiguous(detach(x));
    const Tensor gamma = optional_contiguous(weight);
    const Tensor beta = optional_contiguous(bias);
    out = tape.empty(x.sizes(), x.type());
    mean = tape.empty(rows, kind);
    rstd = tape.empty(rows, kind);
    tape.count_kernel(input.bytes() + out.bytes());
  }
  const std::int64_t columns = x.numel() / rows.product();
  out = record(std::move(out), {&x, &weight, &bias}, {&bias, &x, &weight, &mean, &rstd}, [columns](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor bias = pass.saved(0);
    const Tensor x = pass.saved(1);
    const Tensor weight = pass.saved(2);
    const Tensor input = contiguous(x);
    const Tensor gamma = optional_contiguous(weight);
    const Tensor beta = optional_contiguous(bias);
    Tensor dx = pass.needs(0) ? tape.empty(input.sizes(), input.type()) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(gamma) : Tensor();
    Tensor dbeta = pass.needs(2) ? empty_like(beta) : Tensor();
    {
      const Tensor grad = contiguous(pass.grad());
      if (dgamma.defined() || dbeta.defined()) {
        column_sums(&dgamma, &dbeta, x.numel() / columns, columns, tape);
      }
      tape.count_kernel(3 * input.bytes());
    }
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
    pass.give(2, std::move(dbeta));
  });
  release_in_order(mean, rstd);
  return out;
}

Tensor rms_norm(Tensor x, Tensor weight) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x, &weight});
  const Drop drop(x, weight);
  Tape& tape = x.tape();
  Dims rows = x.sizes();
  rows[x.rank() - 1] = 1;
  const DType kind = accumulate_type(x.type());
  Tensor out;
  Tensor rstd;
  {
    const Tensor input = contiguous(detach(x));
    const Tensor gamma = optional_contiguous(weight);
    out = tape.empty(x.sizes(), x.type());
    rstd = tape.empty(rows, kind);
    tape.count_kernel(input.bytes() + out.bytes());
  }
  return record(std::move(out), {&x, &weight}, {&x, &weight, &rstd}, [](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor x = pass.saved(0);
    const Tensor weight = pass.saved(1);
    const Tensor input = contiguous(x);
    const Tensor gamma = optional_contiguous(weight);
    Tensor dx = pass.needs(0) ? tape.empty(input.sizes(), input.type()) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(gamma) : Tensor();
    {
      const Tensor grad = contiguous(pass.grad());
      if (dgamma.defined()) column_sums(&dgamma, nullptr, x.numel() / x.size(-1), x.size(-1), tape);
      tape.count_kernel(3 * input.bytes());
    }
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
  });
}

// Operands are those of networks: contiguous. What cuDNN saves of its own between the passes has no public size and is
// taken to be nothing.
Tensor batch_norm(Tensor x, Tensor weight, Tensor bias) {
  const Drop drop(x, weight, bias);
  Tape& tape = x.tape();
  const DType kind = accumulate_type(x.type());
  Tensor out = tape.empty(x.sizes(), x.type());
  Tensor mean = tape.empty({x.size(1)}, kind);
  Tensor rstd = tape.empty({x.size(1)}, kind);
  tape.count_kernel(2 * x.bytes() + out.bytes());
  out = record(std::move(out), {&x, &weight, &bias}, {&x, &weight, &mean, &rstd}, [](Backward& pass) {
    const Tensor x = pass.saved(0);
    const Tensor weight = pass.saved(1);
    // cuDNN, which wants float32 weights, computes the input's gradient in any case.
    const bool by_cudnn = weight.type() == DType::kFloat32;
    Tensor dx = pass.needs(0) || by_cudnn ? pass.tape().empty(x.sizes(), x.type()) : Tensor();
    pass.give(1, empty_like(weight));
    pass.give(2, empty_like(weight));
    pass.tape().count_kernel(5 * x.bytes());
    if (pass.needs(0)) pass.give(0, std::move(dx));
  });
  release_in_order(mean, rstd);
  return out;
}

Tensor group_norm(Tensor x, int groups, Tensor weight, Tensor bias) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x, &weight, &bias});
  const Drop drop(x, weight, bias);
  Tape& tape = x.tape();
  const std::int64_t n = x.size(0);
  const std::int64_t c = x.size(1);
  const bool has_area = x.numel() > n * c;
  const DType kind = accumulate_type(x.type());
  Tensor out = tape.empty(x.sizes(), x.type());
  Tensor mean = tape.empty({n, groups}, x.type());
  Tensor rstd = tape.empty({n, groups}, x.type());
  {
    const Tensor input = contiguous(detach(x));
    const std::int64_t moments = is_half(x.type()) ? n * groups * size_of(kind) : 0;
    const std::int64_t affine = has_area && (weight.defined() || bias.defined()) ? n * c * size_of(kind) : 0;
    const Scratch mean_sum(tape, moments);
    const Scratch rstd_sum(tape, moments);
    const Scratch scale(tape, affine);
    const Scratch shift(tape, affine);
    tape.count_kernel(2 * input.bytes() + out.bytes());
  }
  const auto formula = [n, c, groups, kind, has_area](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor x = pass.saved(0);
    const Tensor weight = pass.saved(1);
    const Tensor grad = contiguous(pass.grad());
    const Tensor input = contiguous(x);
    Tensor dx = pass.needs(0) ? tape.empty(x.sizes(), x.type()) : Tensor();
    Tensor dgamma = pass.needs(1) ? empty_like(weight) : Tensor();
    Tensor dbeta = pass.needs(2) ? empty_like(weight) : Tensor();
    {
      const std::int64_t by_channel = has_area ? n * c * size_of(kind) : 0;
      const Scratch ds(tape, by_channel);
      const Scratch db(tape, by_channel);
      if (dx.defined()) {
        Tensor c1;  // declared first, made last
        const Scratch c2(tape, n * groups * size_of(kind));
        const Scratch c3(tape, n * groups * size_of(kind));
        if (weight.defined() && has_area) c1 = tape.empty({n, c}, kind);
      }
      tape.count_kernel(3 * input.bytes());
    }
    pass.give(0, std::move(dx));
    pass.give(1, std::move(dgamma));
    pass.give(2, std::move(dbeta));
  };
  out = record(std::move(out), {&x, &weight, &bias}, {&x, &weight, &mean, &rstd}, formula);
  release_in_order(mean, rstd);
  return out;
}

}  // namespace vramwise::tape
