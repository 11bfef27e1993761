// Elementwise ops and their derivatives (tools/autograd/derivatives.yaml of PyTorch 2.14): what is saved, and which
// temporaries a formula makes. A formula's results come in the order of the inputs' names there. Its temporaries are
// named here, one by one: those of a C++ expression of ATen's live until its end, and go in the reverse order.

#include "tape/ops/pointwise.h"

#include "tape/iterator.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {

using internal::elementwise;

Tensor internal::elementwise(std::initializer_list<const Tensor*> inputs, DType type) {
  const Tensor* first = nullptr;
  Dims shape;
  std::int64_t read = 0;
  for (const Tensor* input : inputs) {
    shape = first == nullptr ? input->sizes() : broadcast(shape, input->sizes());
    if (first == nullptr || (*first)->on_host) first = input;
    read += input->bytes();
  }
  Tape& tape = first->tape();
  Tensor out = tape.empty_strided(shape, result_strides(inputs, shape), type);
  tape.count_kernel(read + out.bytes());
  return out;
}

namespace {

Tensor unary(const Tensor& x) { return elementwise({&x}, x.type()); }

// Ops that compute in floating point whatever they are given.
Tensor unary_float(const Tensor& x) { return elementwise({&x}, is_floating(x.type()) ? x.type() : DType::kFloat32); }

Tensor binary(const Tensor& a, const Tensor& b) { return elementwise({&a, &b}, result_type(a, b)); }

DType float_result(DType type) { return is_floating(type) ? type : DType::kFloat32; }

Tape& tape_of(const Tensor& a, const Tensor& b) { return a->on_host ? b.tape() : a.tape(); }

int category(DType type) { return is_floating(type) ? 2 : (type == DType::kBool ? 0 : 1); }

void in_place_kernel(const Tensor& a, const Tensor& b) {
  ++a->storage->changes;
  a.tape().count_kernel(2 * a.bytes() + b.bytes());
}

}  // namespace

DType result_type(const Tensor& a, const Tensor& b) {
  const bool a_counts = a.rank() > 0 || b.rank() == 0;
  const bool b_counts = b.rank() > 0 || a.rank() == 0;
  if (a_counts && b_counts) return promote(a.type(), b.type());
  const DType strong = a_counts ? a.type() : b.type();
  const DType weak = a_counts ? b.type() : a.type();
  return category(weak) > category(strong) ? weak : strong;
}

DType result_type(const Tensor& a, Scalar b) {
  if (is_floating(a.type())) return a.type();
  if (b.is_floating) return DType::kFloat32;
  return a.type() == DType::kBool ? DType::kInt64 : a.type();
}

Tensor add(Tensor a, Tensor b, double alpha) {
  const Drop drop(a, b);
  return record(binary(a, b), {&a, &b}, {}, [alpha](Backward& pass) {
    const Tensor& grad = pass.grad();
    if (pass.needs(1)) pass.give(1, alpha == 1 ? grad : mul(grad, alpha));
    if (pass.needs(0)) pass.give(0, grad);
  });
}

Tensor add(Tensor a, Scalar b) {
  const Drop drop(a);
  return record(elementwise({&a}, result_type(a, b)), {&a}, {}, [](Backward& pass) { pass.give(0, pass.grad()); });
}

Tensor sub(Tensor a, Tensor b) {
  const Drop drop(a, b);
  return record(binary(a, b), {&a, &b}, {}, [](Backward& pass) {
    if (pass.needs(1)) pass.give(1, neg(pass.grad()));
    if (pass.needs(0)) pass.give(0, pass.grad());
  });
}

Tensor sub(Tensor a, Scalar b) {
  const Drop drop(a);
  return record(elementwise({&a}, result_type(a, b)), {&a}, {}, [](Backward& pass) { pass.give(0, pass.grad()); });
}

Tensor rsub(Scalar a, Tensor b) {
  const Drop drop(b);
  return record(elementwise({&b}, result_type(b, a)), {&b}, {}, [](Backward& pass) { pass.give(0, neg(pass.grad())); });
}

Tensor mul(Tensor a, Tensor b) {
  const Drop drop(a, b);
  const bool saves_a = b.requires_grad();
  const bool saves_b = a.requires_grad();
  const auto make = [&] { return binary(a, b); };
  return record_first(tape_of(a, b), {&a, &b}, {saves_b ? &b : nullptr, saves_a ? &a : nullptr}, make,
                      [](Backward& pass) {
                        const Tensor other = pass.saved(0);
                        const Tensor self = pass.saved(1);
                        if (pass.needs(1)) pass.give(1, mul(pass.grad(), self));
                        if (pass.needs(0)) pass.give(0, mul(pass.grad(), other));
                      });
}

Tensor mul(Tensor a, Scalar b) {
  const Drop drop(a);
  return record(elementwise({&a}, result_type(a, b)), {&a}, {},
                [b](Backward& pass) { pass.give(0, mul(pass.grad(), b)); });
}

namespace {

// Of a / b, where b and a were saved.
constexpr auto kGiveQuotient = [](Backward& pass) {
  const Tensor other = pass.saved(0);
  const Tensor self = pass.saved(1);
  if (pass.needs(1)) {
    // −grad · ((self / other) / other)
    const Tensor negative = neg(pass.grad());
    const Tensor quotient = div(self, other);
    const Tensor twice = div(quotient, other);
    pass.give(1, mul(negative, twice));
  }
  if (pass.needs(0)) pass.give(0, div(pass.grad(), other));
};

}  // namespace

Tensor div(Tensor a, Tensor b) {
  const Drop drop(a, b);
  const auto make = [&] { return elementwise({&a, &b}, float_result(result_type(a, b))); };
  return record_first(tape_of(a, b), {&a, &b}, {&b, b.requires_grad() ? &a : nullptr}, make, kGiveQuotient);
}

Tensor div(Tensor a, Scalar b) {
  const Drop drop(a);
  return record(elementwise({&a}, float_result(a.type())), {&a}, {},
                [b](Backward& pass) { pass.give(0, div(pass.grad(), b)); });
}

Tensor pow(Tensor x, double exponent) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x});
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary(x); },
      [exponent](Backward& pass) {
        const Tensor self = pass.saved(0);
        if (exponent == 0) return pass.give(0, pass.tape().empty(self.sizes(), self.type()));
        // grad · (exponent · self^(exponent − 1))
        const Tensor power = pow(self, exponent - 1);
        const Tensor slope = mul(power, exponent);
        pass.give(0, mul(pass.grad(), slope));
      });
}

Tensor neg(Tensor x) {
  const Drop drop(x);
  return record(unary(x), {&x}, {}, [](Backward& pass) { pass.give(0, neg(pass.grad())); });
}

Tensor abs(Tensor x) {
  const Drop drop(x);
  return unary(x);
}

Tensor minimum(Tensor a, Tensor b) {
  const Drop drop(a, b);
  return binary(a, b);
}

Tensor sqrt(Tensor x) {
  const Drop drop(x);
  Tensor out = unary_float(x);
  return record(out, {&x}, {&out}, [](Backward& pass) {
    const Tensor twice = mul(pass.saved(0), 2);
    pass.give(0, div(pass.grad(), twice));
  });
}

Tensor rsqrt(Tensor x) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x});
  const Drop drop(x);
  Tensor out = unary_float(x);
  return record(out, {&x}, {&out}, [](Backward& pass) {
    // −0.5 · grad · result³
    const Tensor result = pass.saved(0);
    const Tensor half = mul(pass.grad(), -0.5);
    const Tensor cube = pow(result, 3);
    pass.give(0, mul(half, cube));
  });
}

Tensor exp(Tensor x) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x});
  const Drop drop(x);
  Tensor out = unary_float(x);
  return record(out, {&x}, {&out}, [](Backward& pass) { pass.give(0, mul(pass.grad(), pass.saved(0))); });
}

Tensor log(Tensor x) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x});
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary_float(x); },
      [](Backward& pass) { pass.give(0, div(pass.grad(), pass.saved(0))); });
}

Tensor sin(Tensor x) {
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary_float(x); },
      [](Backward& pass) {
        const Tensor slope = cos(pass.saved(0));
        pass.give(0, mul(pass.grad(), slope));
      });
}

Tensor cos(Tensor x) {
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary_float(x); },
      [](Backward& pass) {
        const Tensor sine = sin(pass.saved(0));
        const Tensor slope = neg(sine);
        pass.give(0, mul(pass.grad(), slope));
      });
}

Tensor tanh(Tensor x) {
  const Drop drop(x);
  Tensor out = unary_float(x);
  return record(out, {&x}, {&out}, [](Backward& pass) {
    const Tensor result = pass.saved(0);
    pass.give(0, elementwise({&pass.grad(), &result}, pass.grad().type()));
  });
}

Tensor sigmoid(Tensor x) {
  const Drop drop(x);
  Tensor out = unary_float(x);
  return record(out, {&x}, {&out}, [](Backward& pass) {
    const Tensor result = pass.saved(0);
    pass.give(0, elementwise({&pass.grad(), &result}, pass.grad().type()));
  });
}

Tensor silu(Tensor x) {
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary(x); },
      [](Backward& pass) {
        const Tensor self = pass.saved(0);
        pass.give(0, elementwise({&pass.grad(), &self}, self.type()));
      });
}

Tensor relu(Tensor x) {
  const Drop drop(x);
  Tensor out = unary(x);
  return record(out, {&x}, {&out}, [](Backward& pass) {
    const Tensor result = pass.saved(0);
    pass.give(0, elementwise({&result, &pass.grad()}, result.type()));
  });
}

Tensor gelu(Tensor x, Gelu) {
  const Drop drop(x);
  return record_first(
      x.tape(), {&x}, {&x}, [&] { return unary(x); },
      [](Backward& pass) {
        const Tensor self = pass.saved(0);
        pass.give(0, elementwise({&pass.grad(), &self}, self.type()));
      });
}

void add_(const Tensor& a, const Tensor& b) {
  in_place_kernel(a, b);
  record_all(a.tape(), {&a}, {&a, &b}, {}, [](Backward& pass) {
    if (pass.needs(1)) pass.give(1, pass.grad());
    if (pass.needs(0)) pass.give(0, pass.grad());
  });
}
void mul_(const Tensor& a, Scalar) { in_place_kernel(a, a); }
void mul_(const Tensor& a, const Tensor& b) { in_place_kernel(a, b); }
void div_(const Tensor& a, Scalar) { in_place_kernel(a, a); }

void div_(const Tensor& a, const Tensor& b) {
  if (!wants_grad(a.tape(), {&a, &b})) return in_place_kernel(a, b);
  const Tensor before = b.requires_grad() ? clone(detach(a)) : Tensor();
  in_place_kernel(a, b);
  record_all(a.tape(), {&a}, {&a, &b}, {&b, &before}, kGiveQuotient);
}

Tensor floor_divide(Tensor a, std::int64_t) {
  const Drop drop(a);
  return elementwise({&a}, a.type());
}

Tensor empty_like(const Tensor& x) {
  const Dims strides = is_dense(x.sizes(), x.strides()) ? x.strides() : dense_strides_like(x.sizes(), x.strides());
  return x.tape().empty_strided(x.sizes(), strides, x.type());
}

Tensor zeros_like(const Tensor& x) { return empty_like(x); }
Tensor ones_like(const Tensor& x) { return empty_like(x); }

Tensor to(Tensor x, DType type) {
  const Drop drop(x);
  if (x.type() == type) return x;
  const Dims strides = is_dense(x.sizes(), x.strides()) ? x.strides() : dense_strides_like(x.sizes(), x.strides());
  Tensor out = x.tape().empty_strided(x.sizes(), strides, type);
  x.tape().count_kernel(x.bytes() + out.bytes());
  return record(std::move(out), {&x}, {},
                [before = x.type()](Backward& pass) { pass.give(0, to(pass.grad(), before)); });
}

Tensor clone(Tensor x) {
  const Drop drop(x);
  Tensor out = empty_like(x);
  x.tape().count_kernel(2 * out.bytes());
  return record(std::move(out), {&x}, {}, [](Backward& pass) { pass.give(0, pass.grad()); });
}

Tensor contiguous(Tensor x) {
  if (x.is_contiguous()) return x;
  return contiguous_clone(std::move(x));
}

Tensor contiguous_clone(Tensor x) {
  const Drop drop(x);
  Tensor out = x.tape().empty(x.sizes(), x.type());
  x.tape().count_kernel(2 * out.bytes());
  return record(std::move(out), {&x}, {}, [](Backward& pass) { pass.give(0, pass.grad()); });
}

}  // namespace vramwise::tape
