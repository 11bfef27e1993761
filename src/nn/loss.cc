// For a chunk of tokens: norm, logits, negative log-likelihood, and while the logits are still there their gradient,
// from it those of the chunk's x and of the table. The scale enters with the gradient of the logits, in fp32: a
// gradient of 1 / (tokens of a step) would vanish in fp16.
#include "nn/loss.h"

#include <optional>

#include "nn/decoder.h"
#include "nn/dispatch.h"
#include "nn/norm.h"

namespace vramwise {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

// Replaces logits (rows, vocab) by the gradient of scale * (sum of NLL) if there is a scale. Returns the NLL by row,
// fp32.
Tensor negative_log_likelihood(Tensor logits, const Tensor& targets, std::optional<float> scale) {
  const std::int64_t rows = logits.size(0);
  if (internal::cpu_kernels_apply(logits)) {
    Tensor nll = at::empty({rows}, logits.options().dtype(torch::kFloat));
    const cpu::NllTask task{
        .vocab = logits.size(1), .ignored = kIgnoredTarget, .gradient_scale = scale ? &*scale : nullptr};
    internal::with_type(logits.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      internal::parallel_rows(rows, task.vocab, [&](cpu::Rows range) {
        cpu::negative_log_likelihood(logits.mutable_data_ptr<T>(), targets.const_data_ptr<std::int64_t>(),
                                     nll.mutable_data_ptr<float>(), range, task);
      });
    });
    return nll;
  }
  // One fp32 copy of the logits becomes the probabilities in place. (CUDA's log-softmax widens fp16 by itself, but not
  // bf16.)
  Tensor wide = logits.to(torch::kFloat, /*non_blocking=*/false, /*copy=*/true);
  const Tensor counts = targets.ne(kIgnoredTarget).unsqueeze(1);
  const Tensor index = targets.clamp_min(0).unsqueeze(1);
  wide.sub_(wide.amax(1, /*keepdim=*/true));
  const Tensor picked = wide.gather(1, index);
  const Tensor total = wide.exp_().sum(1, /*keepdim=*/true);
  const Tensor nll = total.log().sub_(picked).mul_(counts).squeeze(1);
  if (scale) {
    wide.div_(total);
    wide.scatter_add_(1, index, at::full({rows, 1}, -1.0, wide.options()));
    wide.mul_(counts.to(torch::kFloat).mul_(*scale));
    logits.copy_(wide);
  }
  return nll;
}

// The gradients as they come together over the chunks. The table's is summed in fp32.
class HeadGradients {
 public:
  HeadGradients(const Tensor& x, const Tensor& norm_weight, const Tensor& table) : table_(table) {
    const auto fp32 = x.options().dtype(torch::kFloat);
    dx_ = at::empty_like(x);
    dnorm_ = at::zeros(norm_weight.sizes(), fp32);
    dtable_ = at::zeros(table.sizes(), fp32);
  }

  void add_chunk(std::int64_t begin, const Tensor& x, const Tensor& norm_weight, const internal::Normed& normed,
                 const Tensor& dlogits) {
    add_table_part(dlogits, normed.y);
    Tensor dnormed = at::mm(dlogits, table_);
    internal::NormGradients norm = internal::norm_backward(std::move(dnormed), x, norm_weight, normed.rstd);
    dnorm_.add_(norm.weight);
    dx_.narrow(0, begin, x.size(0)).copy_(norm.x);
  }

  // In the dtype of the parameters.
  variable_list finish() {
    const auto dtype = table_.scalar_type();
    return {std::move(dx_), dnorm_.to(dtype), std::exchange(dtable_, Tensor()).to(dtype)};
  }

 private:
  void add_table_part(const Tensor& dlogits, const Tensor& normed) {
    if (dlogits.scalar_type() == torch::kFloat) {
      dtable_.addmm_(dlogits.t(), normed);
    } else if (dlogits.is_cuda()) {
      at::addmm_out(dtable_, dtable_, dlogits.t(), normed, torch::kFloat);
    } else {
      part_ = part_.defined() ? at::mm_out(part_, dlogits.t(), normed) : at::mm(dlogits.t(), normed);
      add_gradient(dtable_, part_);
    }
  }

  const Tensor& table_;
  Tensor dx_;
  Tensor dnorm_;
  Tensor dtable_;
  Tensor part_;  // 16-bit product of one chunk, on the CPU
};

struct HeadLossFunction : torch::autograd::Function<HeadLossFunction> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& norm_weight, const Tensor& table,
                               const Tensor& targets, double norm_eps, std::int64_t chunk_tokens, double scale,
                               bool differentiate) {
    std::optional<HeadGradients> gradients;
    if (differentiate) gradients.emplace(x, norm_weight, table);
    const std::int64_t tokens = x.size(0);
    Tensor nll_sum = at::zeros({}, x.options().dtype(torch::kFloat));
    Tensor logits;
    for (std::int64_t begin = 0; begin < tokens; begin += chunk_tokens) {
      const std::int64_t rows = std::min(chunk_tokens, tokens - begin);
      const Tensor part = x.narrow(0, begin, rows);
      const internal::Normed normed = internal::norm_forward(part, norm_weight, norm_eps);
      if (!logits.defined()) logits = at::empty({rows, table.size(0)}, x.options());
      Tensor chunk_logits = logits.narrow(0, 0, rows);
      at::mm_out(chunk_logits, normed.y, table.t());
      const auto chunk_scale = differentiate ? std::optional(static_cast<float>(scale)) : std::nullopt;
      nll_sum.add_(negative_log_likelihood(chunk_logits, targets.narrow(0, begin, rows), chunk_scale).sum());
      if (gradients) gradients->add_chunk(begin, part, norm_weight, normed, chunk_logits);
    }
    logits.reset();
    if (gradients) ctx->save_for_backward(gradients->finish());
    ctx->mark_non_differentiable({nll_sum});
    return {nll_sum * scale, nll_sum};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    variable_list out = ctx->get_saved_variables();
    for (Tensor& gradient : out) gradient.mul_(gradients[0]);
    out.resize(8);
    return out;
  }
};

}  // namespace

HeadLoss head_loss(const Tensor& x, const Tensor& norm_weight, const Tensor& table, const Tensor& targets,
                   const HeadSettings& settings) {
  const bool differentiate = torch::GradMode::is_enabled() && x.requires_grad();
  variable_list out = HeadLossFunction::apply(x, norm_weight, table, targets, settings.norm_eps, settings.chunk_tokens,
                                              settings.scale, differentiate);
  return {differentiate ? out[0] : Tensor(), out[1].detach()};
}

}  // namespace vramwise
