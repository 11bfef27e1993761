// Iterator: how PyTorch's TensorIterator looks at the operands of an elementwise op or a reduction: the common shape,
// the order of dimensions, dimensions that can be joined. From it follow the strides of a result and the plan of a
// reduction.
#pragma once

#include <initializer_list>

#include "tape/dims.h"
#include "tape/dtype.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// The strides that an elementwise op gives its result. `inputs` broadcast to `shape`.
Dims result_strides(std::initializer_list<const Tensor*> inputs, const Dims& shape);

/// One operand of an iteration.
struct Operand {
  Dims strides;  ///< in bytes, along the dimensions of the iteration; 0 where it is broadcast or reduced
  std::int64_t element_bytes = 4;
  std::int64_t offset_bytes = 0;  ///< from an address that vector loads can use
};

/// A reduction of one input to one output.
class Reduction {
 public:
  /// `reduced` has a bit for each dimension of `input` that is summed over.
  Reduction(const Tensor& input, unsigned reduced, DType output_type);
  /// The plain form, for a part of a larger one.
  Reduction(const Dims& shape, const Operand& output, const Operand& input)
      : shape_(shape), output_(output), input_(input) {}

  int rank() const { return shape_.size(); }
  const Dims& shape() const { return shape_; }
  const Operand& input() const { return input_; }
  const Operand& output() const { return output_; }
  std::int64_t numel() const { return shape_.product(); }
  std::int64_t output_count() const;
  int reduced_rank() const;
  bool fits_32_bit() const;
  /// The two halves along the dimension that PyTorch splits.
  void split(Reduction& first, Reduction& second) const;

 private:
  Dims shape_;  ///< innermost dimension first
  Operand output_;
  Operand input_;
};

}  // namespace vramwise::tape
