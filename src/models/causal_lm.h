// A causal language model: token ids in, loss out.
#pragma once

#include <vector>

#include "models/model.h"

namespace vramwise {

class CausalLm : public Model {
 public:
  std::vector<BatchTensor> inputs(const BatchSize& size) const final {
    const tape::Dims sizes = {size.samples, size.tokens};
    return {{"input_ids", sizes, DType::kInt64}, {"labels", sizes, DType::kInt64}};
  }
  Tensor loss(const Batch& batch) final { return loss(batch[0], batch[1]); }

 protected:
  /// model(input_ids=…, labels=…).loss. Both (batch, length) int64.
  virtual Tensor loss(const Tensor& input_ids, const Tensor& labels) = 0;
};

}  // namespace vramwise
