// Parameters start at multiples of 64 elements: 128 bytes in 16 bits, a cache line of a GPU, and what vectorised
// kernels and cuBLAS want of addresses. The gaps hold zeros, which every step leaves zeros.
#include "train/flat_parameters.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace vramwise {
namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kNormChunk = std::int64_t{1} << 22;

}  // namespace

FlatLayout::FlatLayout(const DecoderConfig& config) {
  const std::vector<ParameterShape> shapes = parameters(config);
  for (const ParameterShape& shape : shapes) slots_.push_back({shape.name, shape.shape, 0, shape.count()});
  for (const bool decays : {true, false}) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      if (shapes[i].decays != decays) continue;
      slots_[i].offset = size_;
      size_ += (slots_[i].count + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (decays) decayed_ = size_;
  }
}

std::vector<torch::Tensor> FlatLayout::views(const torch::Tensor& flat) const {
  VRAMWISE_CHECK(flat.dim() == 1 && flat.numel() == size_);
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> views;
  for (const FlatSlot& slot : slots_) views.push_back(flat.narrow(0, slot.offset, slot.count).view(slot.shape));
  return views;
}

torch::Tensor make_flat(const FlatLayout& layout, torch::ScalarType type, torch::Device device) {
  return torch::zeros({layout.size()}, torch::TensorOptions().dtype(type).device(device));
}

double flat_norm(const torch::Tensor& flat) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> norms;
  for (std::int64_t at = 0; at < flat.numel(); at += kNormChunk) {
    norms.push_back(at::linalg_vector_norm(flat.narrow(0, at, std::min(kNormChunk, flat.numel() - at)), 2));
  }
  return at::linalg_vector_norm(torch::stack(norms).to(torch::kCPU, torch::kDouble), 2).item<double>();
}

}  // namespace vramwise
