// As deepspeed/runtime/utils.py and zero/stage_1_and_2.py of DeepSpeed 0.19.8 have it.

#include "tape/parallel/deepspeed_norm.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"

namespace vramwise::tape {
namespace {

Tensor bool_of(const Tensor& x) { return x.tape().empty(x.sizes(), DType::kBool); }

// at::isfinite: (x == x) * (|x| != inf)
Tensor is_finite(const Tensor& x) {
  const Tensor magnitude = empty_like(x);
  const Tensor is_below = bool_of(x);
  const Tensor is_number = bool_of(x);
  return bool_of(x);
}

// has_inf_or_nan of deepspeed/runtime/utils.py
Tensor has_inf_or_nan(const Tensor& x) {
  Tensor both;
  {
    Tensor most = amax(x);
    const Tensor is_most_finite = is_finite(most);
    most.reset();
    Tensor least = amax(x);  // amin: the same kernel
    const Tensor is_least_finite = is_finite(least);
    least.reset();
    both = bool_of(is_most_finite);
  }
  return bool_of(both);
}

}  // namespace

// is_invalid_grad_norm: (~isfinite(norm) | (norm < 0)).any()
Tensor is_invalid(const Tensor& norm) {
  Tensor is_infinite;
  {
    const Tensor finite = is_finite(norm);
    is_infinite = bool_of(norm);
  }
  Tensor either;
  {
    const Tensor is_negative = bool_of(norm);
    either = bool_of(norm);
  }
  is_infinite.reset();
  return norm.tape().empty({}, DType::kBool);
}

// has_overflow_partitioned_grads_serial; no gradient overflows here.
void check_overflow(const std::vector<Tensor>& gradients) {
  Tape& tape = gradients.front().tape();
  Tensor found;
  {
    const Tensor count = tape.empty({1}, DType::kFloat32);
    for (const Tensor& gradient : gradients) has_inf_or_nan(gradient).reset();
    found = bool_of(count);
  }
  const Tensor on_device = tape.empty({1}, DType::kUInt8);
}

// has_overflow of stage3.py
void check_overflow_at_once(const Tensor& gradients) {
  Tape& tape = gradients.tape();
  const auto any = [&](const Tensor& found) {
    return internal::reduce(found, internal::dim_bits({}, found.rank()), false, DType::kBool);
  };
  {
    const Tensor is_infinite = [&] {
      const Tensor magnitude = empty_like(gradients);
      return bool_of(gradients);
    }();
    any(is_infinite).reset();
  }
  any(bool_of(gradients)).reset();
  const Tensor found = [&] {
    const Tensor copy = tape.empty({1}, DType::kBool);
    return tape.empty({1}, DType::kUInt8);
  }();
}

// get_grad_norm_direct of stage3.py: everything in float64.
Tensor norm_in_float64(const std::vector<Tensor>& gradients) {
  std::vector<Tensor> norms;
  norms.reserve(gradients.size());
  for (const Tensor& gradient : gradients) norms.push_back(norm_of_all(to(gradient, DType::kFloat64)));
  const Tensor of_squares = sum(pow(stack(norms, 0), 2));
  const Tensor total = pow(of_squares, 0.5);
  const Tensor is_infinite = [&] {
    const Tensor magnitude = empty_like(total);
    return bool_of(total);
  }();
  const Tensor is_nan = bool_of(total);
  const Tensor either = bool_of(total);
  const Tensor replacement = total.tape().empty({}, DType::kFloat32);
  const Tensor fitting = to(replacement, total.type());
  return empty_like(total);
}

// combine_grad_norm_groups
Tensor combined_norm(const std::vector<Tensor>& norms) {
  const Tensor stacked = stack(norms, 0);
  const Tensor invalid = is_invalid(stacked);
  const Tensor combined = norm_of_all(stacked);
  const Tensor infinite = empty_like(combined);
  return empty_like(combined);
}

// scaled_global_norm; get_grad_norm_direct of stage_1_and_2.py: each in float64.
Tensor global_norm(Tape& tape, std::span<const Tensor> gradients) {
  Tensor total;
  {
    std::vector<Tensor> norms;
    for (const Tensor& gradient : gradients) norms.push_back(norm_of_all(to(gradient, DType::kFloat64)));
    if (norms.empty()) {
      total = tape.empty({}, DType::kFloat32);
    } else {
      total = to(sum(pow(stack(norms, 0), 2)), DType::kFloat32);
    }
    total = empty_like(total);
    const Tensor is_infinite = [&] {
      const Tensor magnitude = empty_like(total);
      return bool_of(total);
    }();
    const Tensor is_nan = bool_of(total);
    const Tensor either = bool_of(total);
    const Tensor replacement = tape.empty({}, DType::kFloat32);
  }
  return combined_norm({total});
}

// unscale_and_clip_grads of stage_1_and_2.py, and of stage3.py, which has looked at the norm before.
void scale_by(const Tensor& norm) {
  is_invalid(norm).reset();
  clip_by(norm);
}

void clip_by(const Tensor& norm) {
  Tensor factor = div(norm, 1.0);
  factor = add(factor, 1e-6);
  factor = div(factor, 1.0);
  factor = empty_like(factor);  // clamp
  const Tensor combined = mul(factor, 1.0);
  const Tensor reciprocal = empty_like(combined);
  mul(reciprocal, 1.0).reset();
}

}  // namespace vramwise::tape
