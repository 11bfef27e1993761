// Elementwise ops. Each allocates its result and nothing else, unless its comment says so.
#pragma once

#include <initializer_list>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// A Python number as an operand: it takes no memory on the device and decides the result's type only by its kind.
struct Scalar {
  // NOLINTBEGIN(google-explicit-constructor): models write `x * 2`, as in Python
  Scalar(int value) : value(value), is_floating(false) {}
  Scalar(std::int64_t value) : value(static_cast<double>(value)), is_floating(false) {}
  Scalar(double value) : value(value), is_floating(true) {}
  // NOLINTEND(google-explicit-constructor)

  double value;
  bool is_floating;
};

/// torch.result_type: tensors without dimensions and numbers yield to tensors with dimensions of the same kind.
DType result_type(const Tensor& a, const Tensor& b);
DType result_type(const Tensor& a, Scalar b);

Tensor add(Tensor a, Tensor b, double alpha = 1);
Tensor add(Tensor a, Scalar b);
Tensor sub(Tensor a, Tensor b);
Tensor sub(Tensor a, Scalar b);
Tensor rsub(Scalar a, Tensor b);  ///< a − b with a number on the left
Tensor mul(Tensor a, Tensor b);
Tensor mul(Tensor a, Scalar b);
Tensor div(Tensor a, Tensor b);
Tensor div(Tensor a, Scalar b);
Tensor pow(Tensor x, double exponent);
Tensor neg(Tensor x);
Tensor abs(Tensor x);                ///< of integers: no gradient
Tensor minimum(Tensor a, Tensor b);  ///< of integers: no gradient
Tensor sqrt(Tensor x);
Tensor rsqrt(Tensor x);
Tensor exp(Tensor x);
Tensor log(Tensor x);
Tensor sin(Tensor x);
Tensor cos(Tensor x);
Tensor tanh(Tensor x);
Tensor sigmoid(Tensor x);
Tensor silu(Tensor x);
Tensor relu(Tensor x);
enum class Gelu { kExact, kTanh };
Tensor gelu(Tensor x, Gelu kind = Gelu::kExact);

/// a = a + b, in the memory of a.
void add_(const Tensor& a, const Tensor& b);
void mul_(const Tensor& a, Scalar b);
void mul_(const Tensor& a, const Tensor& b);
void div_(const Tensor& a, Scalar b);
/// With a gradient, for which a copy of `a` as it was is kept.
void div_(const Tensor& a, const Tensor& b);
/// a // b of integers.
Tensor floor_divide(Tensor a, std::int64_t b);

/// x.to(type): x itself where it has that type already.
Tensor to(Tensor x, DType type);
/// A copy that keeps the layout where it has no gaps.
Tensor clone(Tensor x);
/// x.contiguous(): x itself where it is.
Tensor contiguous(Tensor x);
/// A contiguous copy in any case.
Tensor contiguous_clone(Tensor x);
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor empty_like(const Tensor& x);

inline Tensor operator+(Tensor a, Tensor b) { return add(std::move(a), std::move(b)); }
inline Tensor operator+(Tensor a, Scalar b) { return add(std::move(a), b); }
inline Tensor operator-(Tensor a, Tensor b) { return sub(std::move(a), std::move(b)); }
inline Tensor operator-(Tensor a, Scalar b) { return sub(std::move(a), b); }
inline Tensor operator-(Scalar a, Tensor b) { return rsub(a, std::move(b)); }
inline Tensor operator-(Tensor x) { return neg(std::move(x)); }
inline Tensor operator*(Tensor a, Tensor b) { return mul(std::move(a), std::move(b)); }
inline Tensor operator*(Tensor a, Scalar b) { return mul(std::move(a), b); }
inline Tensor operator*(Scalar a, Tensor b) { return mul(std::move(b), a); }
inline Tensor operator/(Tensor a, Tensor b) { return div(std::move(a), std::move(b)); }
inline Tensor operator/(Tensor a, Scalar b) { return div(std::move(a), b); }

namespace internal {
/// The result of an elementwise kernel on `inputs`; no autograd.
Tensor elementwise(std::initializer_list<const Tensor*> inputs, DType type);
}  // namespace internal

}  // namespace vramwise::tape
