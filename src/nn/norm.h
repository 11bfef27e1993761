// The root-mean-square norm without autograd, and the backward pass of projections that read its output. For the
// operators of this folder.
#pragma once

#include <torch/torch.h>

namespace vramwise::internal {

struct Normed {
  torch::Tensor y;
  torch::Tensor rstd;  ///< fp32, one a row
};
Normed norm_forward(const torch::Tensor& x, const torch::Tensor& weight, double eps);

/// The same y once more, from a known rstd.
torch::Tensor norm_again(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& rstd, double eps);

struct NormGradients {
  torch::Tensor x;
  torch::Tensor weight;  ///< fp32 on the CPU, of the weight's type elsewhere
};
/// `dy` is given up: on the CPU the gradient of x takes its storage.
NormGradients norm_backward(torch::Tensor dy, const torch::Tensor& x, const torch::Tensor& weight,
                            const torch::Tensor& rstd);

/// Backward of norm(x) W_i^T for several weights. `saved`: x, norm weight, rstd, W_0, W_1 …; returns the gradients of
/// x, the norm weight, W_0, W_1 …
torch::autograd::variable_list normed_projection_backward(const torch::autograd::variable_list& saved, double eps,
                                                          const torch::autograd::variable_list& gradients);

torch::Tensor weight_gradient(const torch::Tensor& dy, const torch::Tensor& x);

}  // namespace vramwise::internal
