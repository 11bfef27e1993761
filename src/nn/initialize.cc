// A fresh start for training, and sums of gradients.
#include <cmath>

#include "base/check.h"
#include "nn/decoder.h"
#include "nn/dispatch.h"

namespace vramwise {

using torch::Tensor;

// Scaling down what is added to the residual stream keeps its variance independent of depth (GPT-2's report,
// section 2.3).
void initialize(const DecoderConfig& config, const std::vector<Tensor>& weights, at::Generator generator) {
  const torch::NoGradGuard no_grad;
  const std::vector<ParameterShape> shapes = parameters(config);
  VRAMWISE_CHECK(shapes.size() == weights.size());
  constexpr double kDeviation = 0.02;
  const double into_residual = kDeviation / std::sqrt(2.0 * static_cast<double>(config.n_layers));
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string& name = shapes[i].name;
    VRAMWISE_CHECK(weights[i].sizes() == shapes[i].shape);
    if (shapes[i].shape.size() == 1) {
      weights[i].fill_(1.0);
    } else {
      const bool residual = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
      weights[i].normal_(0.0, residual ? into_residual : kDeviation, generator);
    }
  }
}

void add_gradient(Tensor& accumulated, const Tensor& gradient) {
  VRAMWISE_CHECK(accumulated.scalar_type() == torch::kFloat && accumulated.sizes() == gradient.sizes());
  const torch::NoGradGuard no_grad;
  if (!gradient.is_cpu() || gradient.scalar_type() == torch::kFloat || !accumulated.is_contiguous()) {
    accumulated.add_(gradient);
    return;
  }
  const Tensor source = gradient.contiguous();
  internal::with_type(source.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    internal::parallel_rows(source.numel(), 1, [&](cpu::Rows part) {
      cpu::add_to_float(source.const_data_ptr<T>() + part.begin, accumulated.mutable_data_ptr<float>() + part.begin,
                        part.end - part.begin);
    });
  });
}

}  // namespace vramwise
