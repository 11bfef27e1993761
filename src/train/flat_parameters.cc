// Parameters start at multiples of 64 elements: 128 bytes in 16 bits, a cache line of a GPU, and what vectorised
// kernels and cuBLAS want of addresses. The gaps hold zeros, which every step leaves zeros.
#include "train/flat_parameters.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace vramwise {
namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kNormRow = 4096;

}  // namespace

FlatLayout::FlatLayout(const DecoderConfig& config) {
  const std::vector<ParameterShape> shapes = parameters(config);
  slots_.reserve(shapes.size());
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
  views.reserve(slots_.size());
  for (const FlatSlot& slot : slots_) views.push_back(flat.narrow(0, slot.offset, slot.count).view(slot.shape));
  return views;
}

torch::Tensor make_flat(const FlatLayout& layout, torch::ScalarType type, torch::Device device) {
  return torch::zeros({layout.size()}, torch::TensorOptions().dtype(type).device(device));
}

double flat_norm(const torch::Tensor& flat) {
  // A sum over the whole buffer in fp32 would lose digits; rows are short enough, and what is left is summed in fp64.
  const torch::NoGradGuard no_grad;
  const std::int64_t rows = flat.numel() / kNormRow;
  const torch::Tensor of_rows = at::linalg_vector_norm(flat.narrow(0, 0, rows * kNormRow).view({rows, kNormRow}), 2, 1);
  const torch::Tensor of_rest = at::linalg_vector_norm(flat.narrow(0, rows * kNormRow, flat.numel() % kNormRow), 2);
  return std::hypot(at::linalg_vector_norm(of_rows.to(torch::kCPU, torch::kDouble), 2).item<double>(),
                    of_rest.item<double>());
}

}  // namespace vramwise
