// Matrix products on CUDA: cuBLAS takes matrices whose rows or columns are contiguous; any other operand is copied
// first (ATen/native/cuda/cuBlasCommonArgs.h, Blas.cpp). Formulas: derivatives.yaml and FunctionsManual.cpp
// (mm_mat1_backward, mm_mat2_backward: the gradient has the layout of the operand).

#include "tape/ops/linear.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"
#include "tape/transforms/selective.h"

namespace vramwise::tape {
namespace {

Tensor contiguous_copy(const Tensor& x) {
  Tensor copy = x.tape().empty(x.sizes(), x.type());
  x.tape().count_kernel(2 * copy.bytes());
  return copy;
}

// What cuBLAS gets of a matrix: itself, or a copy for the time of the call.
Tensor prepared(const Tensor& x) {
  if (is_dense(x.sizes(), x.strides())) return x;
  const std::int64_t rows = x.sizes()[0];
  const std::int64_t columns = x.sizes()[1];
  const bool by_columns = x.strides()[0] == 1 && x.strides()[1] >= std::max<std::int64_t>(1, rows);
  const bool by_rows = x.strides()[1] == 1 && x.strides()[0] >= std::max<std::int64_t>(1, columns);
  return by_columns || by_rows ? x : contiguous_copy(x);
}

// The same for a batch. `rows` and `columns` are what the call expects of the two dimensions as cuBLAS counts them.
Tensor prepared_batch(const Tensor& x, bool transposed, std::int64_t rows, std::int64_t columns) {
  const std::int64_t fast = x.strides()[transposed ? 2 : 1];
  const std::int64_t leading = x.strides()[transposed ? 1 : 2];
  if (fast == 1 && leading >= std::max<std::int64_t>(1, rows)) return x;
  if (leading == 1 && fast >= std::max<std::int64_t>(1, columns)) return x;
  const bool strides_are_there = x.strides()[1] != 0 && x.strides()[2] != 0;
  return x.is_contiguous() && strides_are_there ? x : contiguous_copy(x);
}

// The result is row-major, which cuBLAS takes as the transposed product: the second factor comes first.
void multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  const Tensor first = prepared(b);
  const Tensor second = prepared(a);
  a.tape().use_cublas();
  a.tape().count_product({.rows = a.size(0), .columns = out.size(1), .inner = a.size(1)}, a.type());
}

void multiply_batches(const Tensor& a, const Tensor& b, const Tensor& out) {
  // A result of one column is taken as it is, any other as transposed.
  const bool transposed = !(out.strides()[1] == 1 && (out.size(2) == 1 || out.strides()[2] >= out.size(1)));
  const std::int64_t m = out.size(transposed ? 2 : 1);
  const std::int64_t n = out.size(transposed ? 1 : 2);
  const std::int64_t k = a.size(2);
  const Tensor first = prepared_batch(transposed ? b : a, transposed, m, k);
  const Tensor second = prepared_batch(transposed ? a : b, transposed, k, n);
  a.tape().use_cublas();
  a.tape().count_product({.batch = a.size(0), .rows = m, .columns = n, .inner = k}, a.type());
}

Tensor mm_kernel(const Tensor& a, const Tensor& b) {
  Tape& tape = a.tape();
  Tensor out = tape.empty({a.size(0), b.size(1)}, a.type());
  if (out.numel() == 0 || a.numel() == 0) return out;
  multiply(a, b, out);
  return out;
}

template <typename Kernel>
Tensor made_or_taken(Tape& tape, KeptOp op, Kernel kernel) {
  Tensor out;
  make_or_take(tape, op, {&out}, [&] { out = kernel(); });
  return out;
}

bool is_column_major(const Dims& sizes, const Dims& strides) { return strides[0] == 1 && strides[1] == sizes[0]; }

struct Layout {
  Dims sizes;
  Dims strides;
};

Layout layout_of(const Tensor& x) { return {x.sizes(), x.strides()}; }

// The gradient of the first factor a of a × b, laid out as a is.
Tensor first_factor_gradient(const Tensor& grad, const Tensor& b, const Layout& a) {
  if (is_column_major(a.sizes, a.strides)) return t(mm(b, t(grad)));
  return mm(grad, t(b));
}

Tensor second_factor_gradient(const Tensor& grad, const Tensor& a, const Layout& b) {
  if (is_column_major(b.sizes, b.strides)) return t(mm(t(grad), a));
  return mm(t(a), grad);
}

}  // namespace

Tensor mm(Tensor a, Tensor b) {
  const auto policy = AutocastPolicy::lower(a.tape(), {&a, &b});
  const Drop drop(a, b);
  const auto formula = [la = layout_of(a), lb = layout_of(b)](Backward& pass) {
    const Tensor second = pass.saved(0);
    const Tensor first = pass.saved(1);
    if (pass.needs(1)) pass.give(1, second_factor_gradient(pass.grad(), first, lb));
    if (pass.needs(0)) pass.give(0, first_factor_gradient(pass.grad(), second, la));
  };
  return record_first(
      a.tape(), {&a, &b}, {a.requires_grad() ? &b : nullptr, b.requires_grad() ? &a : nullptr},
      [&] { return made_or_taken(a.tape(), KeptOp::kMm, [&] { return mm_kernel(a, b); }); }, formula);
}

namespace {

Tensor bmm_kernel(const Tensor& a, const Tensor& b) {
  Tape& tape = a.tape();
  Tensor out = tape.empty({a.size(0), a.size(1), b.size(2)}, a.type());
  // The outer products of vectors are computed by a kernel of their own (torch/_native/ops/bmm_outer_product).
  if (out.numel() > 0 && a.size(2) == 1) tape.count_kernel(a.bytes() + b.bytes() + out.bytes());
  if (out.numel() > 0 && a.size(2) > 1) multiply_batches(a, b, out);
  return out;
}

}  // namespace

Tensor bmm(Tensor a, Tensor b) {
  const auto policy = AutocastPolicy::lower(a.tape(), {&a, &b});
  const Drop drop(a, b);
  const auto formula = [](Backward& pass) {
    const Tensor second = pass.saved(0);
    const Tensor first = pass.saved(1);
    if (pass.needs(1)) pass.give(1, bmm(transpose(first, 1, 2), pass.grad()));
    if (pass.needs(0)) pass.give(0, bmm(pass.grad(), transpose(second, 1, 2)));
  };
  return record_first(
      a.tape(), {&a, &b}, {a.requires_grad() ? &b : nullptr, b.requires_grad() ? &a : nullptr},
      [&] { return made_or_taken(a.tape(), KeptOp::kBmm, [&] { return bmm_kernel(a, b); }); }, formula);
}

Tensor addmm(Tensor bias, Tensor a, Tensor b, BiasUse use) {
  const auto policy = AutocastPolicy::lower(a.tape(), {&bias, &a, &b});
  const Drop drop(bias, a, b);
  const auto formula = [la = layout_of(a), lb = layout_of(b)](Backward& pass) {
    const Tensor first = pass.saved(0);
    const Tensor second = pass.saved(1);
    if (pass.needs(1)) pass.give(1, first_factor_gradient(pass.grad(), second, la));
    if (pass.needs(2)) pass.give(2, second_factor_gradient(pass.grad(), first, lb));
    if (pass.needs(0)) pass.give(0, pass.grad());
  };
  return record_first(
      a.tape(), {&bias, &a, &b}, {b.requires_grad() ? &a : nullptr, a.requires_grad() ? &b : nullptr},
      [&] {
        Tensor share;
        if (use == BiasUse::kShare) share = empty_like(bias);
        return made_or_taken(a.tape(), KeptOp::kAddmm, [&] { return mm_kernel(a, b); });
      },
      formula);
}

Tensor baddbmm(Tensor bias, Tensor a, Tensor b) {
  const auto policy = AutocastPolicy::lower(a.tape(), {&bias, &a, &b});
  const Drop drop(bias, a, b);
  const auto make = [&] {
    Tensor out = a.tape().empty({a.size(0), a.size(1), b.size(2)}, a.type());
    multiply_batches(a, b, out);
    return out;
  };
  const auto formula = [](Backward& pass) {
    const Tensor first = pass.saved(0);
    const Tensor second = pass.saved(1);
    if (pass.needs(1)) pass.give(1, bmm(pass.grad(), transpose(second, 1, 2)));
    if (pass.needs(2)) pass.give(2, bmm(transpose(first, 1, 2), pass.grad()));
    if (pass.needs(0)) pass.give(0, pass.grad());
  };
  return record_first(a.tape(), {&bias, &a, &b}, {b.requires_grad() ? &a : nullptr, a.requires_grad() ? &b : nullptr},
                      make, formula);
}

namespace {

// Whether a product of a larger with a 1-D or 2-D tensor is computed as one of two matrices (should_fold).
bool folds(const Tensor& a, const Tensor& b) {
  const bool a_is_larger = a.rank() >= b.rank();
  const Tensor& larger = a_is_larger ? a : b;
  const Tensor& smaller = a_is_larger ? b : a;
  if (larger.rank() < 3 || smaller.rank() > 2) return false;
  if (smaller.requires_grad()) return true;
  if (a.rank() == 2) return false;
  if (larger.numel() == 0) return true;
  const GradMode no_grad(a.tape(), false);
  const Tensor rows = a_is_larger ? larger : transpose(larger, -1, -2);
  Dims strides;
  return view_strides(rows.sizes(), rows.strides(), {rows.numel() / rows.size(-1), rows.size(-1)}, strides);
}

Tensor fold(const Tensor& a, const Tensor& b) {
  const bool a_is_larger = a.rank() >= b.rank();
  const Tensor larger = a_is_larger ? a : transpose(b, -1, -2);
  Tensor smaller = a_is_larger ? b : (a.rank() == 2 ? t(a) : a);
  Dims sizes = larger.sizes();
  const std::int64_t inner = sizes.back();
  sizes.erase(sizes.size() - 1);
  const Tensor rows = reshape(larger, {sizes.product(), inner});
  VRAMWISE_CHECK(smaller.rank() == 2);
  sizes.push_back(smaller.size(1));
  Tensor out = unsafe_view(mm(rows, smaller), sizes);
  if (a_is_larger) return out;
  return contiguous(transpose(out, -1, -2));
}

Tensor batched(const Tensor& a, const Tensor& b) {
  if (a.rank() == 3 && b.rank() == 3 && a.size(0) != b.size(0)) {
    if (a.size(0) == 1 && a.requires_grad()) return matmul(squeeze(a, 0), b);
    if (b.size(0) == 1 && b.requires_grad()) return matmul(a, squeeze(b, 0));
  }
  const std::int64_t n = a.rank() > 1 ? a.size(-2) : 1;
  const std::int64_t m = a.size(-1);
  const std::int64_t p = b.rank() > 1 ? b.size(-1) : 1;
  Dims batch_a;
  Dims batch_b;
  for (int i = 0; i + 2 < a.rank(); ++i) batch_a.push_back(a.sizes()[i]);
  for (int i = 0; i + 2 < b.rank(); ++i) batch_b.push_back(b.sizes()[i]);
  const Dims batch = broadcast(batch_a, batch_b);
  const auto as_batch = [&](const Tensor& x, std::int64_t rows, std::int64_t columns) {
    Dims whole = batch;
    whole.push_back(rows);
    whole.push_back(columns);
    return reshape(expand(x, whole), {batch.product(), rows, columns});
  };
  const Tensor left = as_batch(a, n, m);
  const Tensor right = as_batch(b, m, p);
  Dims sizes = batch;
  sizes.push_back(n);
  sizes.push_back(p);
  return unsafe_view(bmm(left, right), sizes);
}

}  // namespace

Tensor matmul(Tensor a, Tensor b) {
  const auto policy = AutocastPolicy::lower(a.tape(), {&a, &b});
  const Drop drop(a, b);
  if (a.rank() == 2 && b.rank() == 2) return mm(a, b);
  if (folds(a, b)) return fold(a, b);
  return batched(a, b);
}

Tensor linear(Tensor x, Tensor weight, Tensor bias, BiasUse use) {
  const auto policy = AutocastPolicy::lower(x.tape(), {&x, &weight, &bias});
  const Drop drop(x, weight, bias);
  if (!bias.defined()) return matmul(x, t(weight));
  if (x.rank() == 2) return addmm(bias, x, t(weight), use);
  Dims sizes = x.sizes();
  sizes[sizes.size() - 1] = weight.size(0);
  if (x.is_contiguous()) {
    const Tensor rows = view(x, {-1, x.size(-1)});
    return view(addmm(bias, rows, t(weight), use), sizes);
  }
  Tensor out = matmul(x, t(weight));
  if (out.tape().has_dispatch_mode()) return std::move(out) + bias;
  add_(out, bias);
  return out;
}

// LinearFunctionForZeroStage3 of deepspeed/runtime/zero/linear.py (DeepSpeed 0.19.8): what it saves is the weight
// itself, not a view of the weight's memory. A Python function, whose tensors are saved after its kernels have run.
Tensor zero3_linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tape& tape = x.tape();
  Tensor out;
  {
    const GradMode no_grad(tape, false);
    if (x.rank() == 2 && bias.defined()) {
      out = addmm(bias, x, t(weight));
    } else {
      out = matmul(x, t(weight));
      if (bias.defined()) add_(out, bias);
    }
  }
  const auto formula = [](Backward& pass) {
    const Tensor input = pass.saved(0);
    const Tensor grad = pass.grad();
    Tensor for_input;
    Tensor for_weight;
    Tensor for_bias;
    const Tensor factor = pass.saved(1);
    if (pass.needs(1)) factor->requires_grad = true;  // what hooks bring back, too; matmul asks for it
    if (pass.needs(0)) for_input = matmul(grad, factor);
    if (pass.needs(1)) for_weight = matmul(t(reshape(grad, {-1, grad.size(-1)})), reshape(input, {-1, input.size(-1)}));
    if (pass.input_count() > 2 && pass.needs(2)) {
      unsigned dims = 0;
      for (int i = 0; i + 1 < grad.rank(); ++i) dims |= 1U << static_cast<unsigned>(i);
      for_bias = internal::reduce(grad, dims, false, grad.type());
    }
    pass.give(0, std::move(for_input));
    pass.give(1, std::move(for_weight));
    if (pass.input_count() > 2) pass.give(2, std::move(for_bias));
  };
  if (bias.defined()) return record(std::move(out), {&x, &weight, &bias}, {&x, &weight, &bias}, formula);
  return record(std::move(out), {&x, &weight}, {&x, &weight}, formula);
}

}  // namespace vramwise::tape
