// As liger_kernel/ops/fused_linear_cross_entropy.py has it. A chunk has so many tokens that its logits take about as
// much as all tokens' inputs; its kernel turns logits into their gradients, from which those of inputs and weight
// follow.

#include "tape/ops/fused_loss.h"

#include <algorithm>
#include <bit>

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t chunk_tokens(std::int64_t tokens, std::int64_t width, std::int64_t classes) {
  const auto share = static_cast<std::uint64_t>(divided_up(tokens, divided_up(classes, width)));
  return std::min(static_cast<std::int64_t>(std::bit_ceil(share)), tokens);
}

// (target != ignore_index).sum().item()
void count_tokens(const Tensor& mask) {
  const Tensor total = mask.tape().empty({}, DType::kInt64);
  const Tensor numbers = mask.tape().empty(mask.sizes(), DType::kInt64);
  internal::reduce_into(numbers, internal::dim_bits({}, 1), DType::kInt64);
  mask.tape().pinned({}, DType::kInt64).reset();  // what the host reads
}

// grad_weight += …: 16-bit products are added where they are computed, from compute capability 8.0 on.
void add_product(const Tensor& gradient) {
  Tape& tape = gradient.tape();
  if (is_half(gradient.type()) && tape.hardware().capability >= 80) return;
  Tensor product = tape.empty(gradient.sizes(), gradient.type());
  product = to(std::move(product), DType::kFloat32);
  tape.count_kernel(3 * product.bytes());
}

// torch.equal(gradient, torch.tensor(1.0)), which spares the multiplication.
void compare_with_one(Tape& tape) {
  const Tensor one = tape.empty({}, DType::kFloat32);
  const Tensor equal = tape.empty({}, DType::kBool);
  const Tensor all = tape.empty({}, DType::kBool);
  tape.pinned({}, DType::kBool).reset();
}

}  // namespace

Tensor fused_linear_cross_entropy(Tensor x, Tensor weight, Tensor target) {
  const Drop drop(x, weight, target);
  Tape& tape = x.tape();
  const std::int64_t tokens = x.size(0);
  const std::int64_t width = x.size(1);
  const std::int64_t classes = weight.size(0);
  Tensor x_gradient;
  Tensor weight_gradient;
  Tensor loss;
  {
    const GradMode no_grad(tape, false);
    x_gradient = tape.empty(x.sizes(), x.type());
    if (weight.requires_grad()) weight_gradient = tape.empty(weight.sizes(), weight.type());
    const Tensor losses = tape.empty({tokens}, DType::kFloat32);
    const Tensor mask = tape.empty({tokens}, DType::kBool);
    count_tokens(mask);
    const std::int64_t chunk = chunk_tokens(tokens, width, classes);
    Tensor logits = tape.empty({chunk, classes}, x.type());
    for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
      const std::int64_t rows = std::min(chunk, tokens - begin);
      tape.use_cublas();
      tape.count_product({.rows = rows, .columns = classes, .inner = width}, x.type());
      tape.count_kernel(2 * logits.bytes());
      tape.count_product({.rows = rows, .columns = width, .inner = classes}, x.type());
      if (!weight_gradient.defined()) continue;
      tape.count_product({.rows = classes, .columns = width, .inner = rows}, x.type());
      add_product(weight_gradient);
    }
    logits.reset();
    loss = internal::reduce(losses, internal::dim_bits({}, 1), false, DType::kFloat32);
  }
  return record(std::move(loss), {&x, &weight}, {&x_gradient, &weight_gradient}, [](Backward& pass) {
    compare_with_one(pass.tape());
    pass.give(0, pass.saved(0));
    if (pass.needs(1)) pass.give(1, pass.saved(1));
  });
}

}  // namespace vramwise::tape
