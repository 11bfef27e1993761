// Softmax (ATen/native/cuda/SoftMax.cu: the result, then contiguous copies of operands that are not) and losses
// (NLLLoss2d.cu, Loss.cu).

#include "tape/ops/softmax.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

Tensor softmax_kernel(const Tensor& x, DType type) {
  Tensor out = x.tape().empty(x.sizes(), type);
  const Tensor input = contiguous(detach(x));
  x.tape().count_kernel(input.bytes() + out.bytes());
  return out;
}

void softmax_backward(Backward& pass, DType type, bool of_logarithm) {
  const Tensor result = pass.saved(0);
  Tensor out = pass.tape().empty(result.sizes(), type);
  const Tensor product = of_logarithm ? pass.grad() : mul(pass.grad(), result);
  const Tensor grad = contiguous(product);
  const Tensor output = contiguous(result);
  pass.tape().count_kernel(grad.bytes() + output.bytes() + out.bytes());
  pass.give(0, std::move(out));
}

Tensor softmax_of(const Tensor& x, std::optional<DType> type, bool of_logarithm) {
  if (!type) type = autocast_result_type(x);
  // float16 is widened by the kernel itself.
  const bool widens = x.type() == DType::kFloat16 && type == DType::kFloat32;
  const Tensor input = widens || !type ? x : to(x, *type);
  Tensor out = softmax_kernel(input, widens ? DType::kFloat32 : input.type());
  return record(out, {&input}, {&out},
                [kind = input.type(), of_logarithm](Backward& pass) { softmax_backward(pass, kind, of_logarithm); });
}

}  // namespace

Tensor softmax(Tensor x, int, std::optional<DType> type) {
  const Drop drop(x);
  return softmax_of(x, type, false);
}

Tensor log_softmax(Tensor x, int, std::optional<DType> type) {
  const Drop drop(x);
  return softmax_of(x, type, true);
}

Tensor safe_softmax(Tensor x, int dim) {
  const Drop drop(x);
  Tape& tape = x.tape();
  Tensor out = softmax_kernel(x, x.type());
  {
    const Tensor masked = internal::elementwise({&x}, DType::kBool);
    const Tensor masked_rows = internal::reduce(masked, 1U << wrap_dim(dim, x.rank()), true, DType::kBool);
    const Tensor zero = tape.empty({}, x.type());
  }
  return record(out, {&x}, {&out}, [kind = x.type()](Backward& pass) { softmax_backward(pass, kind, false); });
}

Tensor nll_loss(Tensor x, Tensor target, LossReduction reduction) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x, &target});
  const Drop drop(x, target);
  Tape& tape = x.tape();
  Tensor out = reduction == LossReduction::kNone ? tape.empty({x.size(0)}, x.type()) : tape.empty({}, x.type());
  const Tensor total_weight = tape.empty({}, x.type());
  {
    const Tensor input = contiguous(detach(x));
    const Tensor classes = contiguous(target);
    tape.count_kernel(target.bytes() + out.bytes());
  }
  return record(std::move(out), {&x}, {&x, &target, &total_weight}, [](Backward& pass) {
    const Tensor self = pass.saved(0);
    const Tensor target = pass.saved(1);
    Tensor grad = pass.tape().empty(self.sizes(), self.type());
    const Tensor input = contiguous(self);
    const Tensor classes = contiguous(target);
    pass.tape().count_kernel(grad.bytes() + target.bytes());
    pass.give(0, std::move(grad));
  });
}

Tensor cross_entropy(Tensor x, Tensor target, LossReduction reduction) {
  const Drop drop(x, target);
  // The type is asked for by name, so that autocast leaves it (LossNLL.cpp, cross_entropy_loss_prob_target).
  return nll_loss(log_softmax(x, 1, x.type()), target, reduction);
}

Tensor mse_loss(Tensor x, Tensor target, LossReduction reduction) {
  const auto policy = AutocastPolicy::widen(x.tape(), {&x, &target});
  const Drop drop(x, target);
  // The result is made for every element and then said to have one only: its memory stays.
  Tensor loss = internal::elementwise({&x, &target}, result_type(x, target));
  if (reduction != LossReduction::kNone) {
    const Tensor squares = internal::elementwise({&x, &target}, loss.type());
    loss = loss.tape().alias(loss, {}, {}, 0);
    internal::reduce_into(squares, internal::dim_bits({}, squares.rank()), loss.type());
  }
  return record(std::move(loss), {&x, &target}, {&x, &target}, [](Backward& pass) {
    const Tensor self = pass.saved(0);
    const Tensor target = pass.saved(1);
    for (int i = 0; i < 2; ++i) {
      const Tensor& of = i == 0 ? self : target;
      if (pass.needs(i)) pass.give(i, pass.tape().empty(of.sizes(), of.type()));
    }
  });
}

}  // namespace vramwise::tape
