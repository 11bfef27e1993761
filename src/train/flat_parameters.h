// One flat buffer for all parameters of a model, and where each of them lies in it.
//
// Weights, gradients and optimizer states each are one tensor of this layout: a step is then a handful of operators
// over whole buffers, copies between devices are single transfers, and memory does not fragment.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/decoder.h"

namespace vramwise {

struct FlatSlot {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  ///< elements
  std::int64_t count = 0;   ///< elements
};

class FlatLayout {
 public:
  explicit FlatLayout(const DecoderConfig& config);

  /// In the order of parameters(config).
  const std::vector<FlatSlot>& slots() const { return slots_; }
  /// Elements of a buffer, with the padding between parameters.
  std::int64_t size() const { return size_; }
  /// Parameters that decay lie in [0, decayed()), the others behind.
  std::int64_t decayed() const { return decayed_; }

  /// The parameters as views into `flat` (size(),), in the order of slots().
  std::vector<torch::Tensor> views(const torch::Tensor& flat) const;

 private:
  std::vector<FlatSlot> slots_;
  std::int64_t size_ = 0;
  std::int64_t decayed_ = 0;
};

/// A flat buffer of zeros.
torch::Tensor make_flat(const FlatLayout& layout, torch::ScalarType type, torch::Device device);

/// The Euclidean norm of a flat buffer, without a temporary of its size. Not finite if one of its elements is not, or
/// if the sum of squares overflows fp32.
double flat_norm(const torch::Tensor& flat);

}  // namespace vramwise
