// For this folder's tests: an operator against the same formula in double precision, values and gradients.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

namespace vramwise::testing {

using Tensors = std::vector<torch::Tensor>;

inline double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  const torch::Tensor wanted = expected.detach().to(torch::kDouble);
  const double size = wanted.norm().item<double>();
  return (actual.detach().to(torch::kDouble) - wanted).norm().item<double>() / (size > 0 ? size : 1.0);
}

/// How far rounding may take a well-made operator from the exact result (relative, Euclidean norm).
inline double tolerance(torch::ScalarType type) {
  if (type == torch::kFloat) return 2e-6;
  return type == torch::kHalf ? 2e-3 : 1.2e-2;
}

inline torch::Tensor random(at::IntArrayRef shape, torch::ScalarType type, double size = 1.0) {
  return (at::randn(shape) * size).to(type);
}

/// Runs `op` on the inputs and `reference` on the same values in double, with equal gradients from above, and compares
/// all outputs and all input gradients.
inline void expect_same_gradients(const std::function<Tensors(const Tensors&)>& op,
                                  const std::function<Tensors(const Tensors&)>& reference, const Tensors& inputs,
                                  double tolerance) {
  Tensors ours;
  Tensors exact;
  for (const torch::Tensor& input : inputs) {
    ours.push_back(input.detach().clone().requires_grad_());
    exact.push_back(input.detach().to(torch::kDouble).requires_grad_());
  }
  const Tensors out = op(ours);
  const Tensors wanted = reference(exact);
  ASSERT_EQ(out.size(), wanted.size());
  Tensors upstream;
  Tensors exact_upstream;
  for (std::size_t i = 0; i < out.size(); ++i) {
    EXPECT_LT(relative_error(out[i], wanted[i]), tolerance) << "output " << i;
    upstream.push_back(random(out[i].sizes(), out[i].scalar_type()));
    exact_upstream.push_back(upstream.back().to(torch::kDouble));
  }
  torch::autograd::backward(out, upstream);
  torch::autograd::backward(wanted, exact_upstream);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(ours[i].grad().defined()) << "input " << i;
    EXPECT_EQ(ours[i].grad().scalar_type(), inputs[i].scalar_type());
    EXPECT_LT(relative_error(ours[i].grad(), exact[i].grad()), tolerance) << "gradient of input " << i;
  }
}

}  // namespace vramwise::testing
