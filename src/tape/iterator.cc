// The order of dimensions, as ATen/TensorIterator.cpp of PyTorch 2.14 finds it (reorder_dimensions,
// coalesce_dimensions, allocate_or_resize_outputs, compute_fast_setup_type, get_dim_to_split).

#include "tape/iterator.h"

#include <limits>

namespace vramwise::tape {
namespace {

constexpr int kMaxOperands = 4;

struct Operands {
  Dims strides[kMaxOperands];  // along the dimensions of the common shape, outermost first
  bool is_reduced_output[kMaxOperands] = {};
  int count = 0;
};

// 1: dimension a belongs inside b (they are to be swapped), -1: they stand right, 0: undecided.
int compare(const Operands& operands, const Dims& shape, int a, int b) {
  for (int i = 0; i < operands.count; ++i) {
    const std::int64_t stride_a = operands.strides[i][a];
    const std::int64_t stride_b = operands.strides[i][b];
    if (operands.is_reduced_output[i] && (stride_a == 0) != (stride_b == 0)) return stride_b == 0 ? 1 : -1;
    if (stride_a == 0 || stride_b == 0) continue;
    if (stride_a < stride_b) return -1;
    if (stride_a > stride_b) return 1;
    if (shape[a] > shape[b]) return 1;
  }
  return 0;
}

// order[0] is the innermost dimension.
void order_dimensions(const Operands& operands, const Dims& shape, int* order) {
  const int rank = shape.size();
  for (int i = 0; i < rank; ++i) order[i] = rank - 1 - i;
  for (int i = 1; i < rank; ++i) {
    int at = i;
    for (int j = i - 1; j >= 0; --j) {
      const int comparison = compare(operands, shape, order[j], order[at]);
      if (comparison > 0) {
        std::swap(order[j], order[at]);
        at = j;
      } else if (comparison < 0) {
        break;
      }
    }
  }
}

Dims broadcast_strides(const Tensor& tensor, const Dims& shape, std::int64_t unit) {
  Dims strides = Dims::filled(shape.size(), 0);
  const int lead = shape.size() - tensor.rank();
  for (int i = 0; i < tensor.rank(); ++i) {
    const bool is_broadcast = tensor.sizes()[i] == 1 && shape[lead + i] != 1;
    strides[lead + i] = is_broadcast ? 0 : tensor.strides()[i] * unit;
  }
  return strides;
}

// Where all operands have one shape and agree in layout, no order needs to be found.
bool fast_strides(std::initializer_list<const Tensor*> inputs, const Dims& shape, Dims& strides) {
  bool contiguous = true;
  bool channels_last = true;
  bool dense = true;
  const Tensor* first = nullptr;
  const Dims* seen = nullptr;
  for (const Tensor* input : inputs) {
    // A scalar that comes before any shape does not count as another shape.
    if (seen == nullptr || seen->empty()) seen = &input->sizes();
    if (!(input->sizes() == *seen)) return false;
  }
  for (const Tensor* input : inputs) {
    if (!(input->sizes() == shape)) return false;
    contiguous = contiguous && input->is_contiguous();
    channels_last = channels_last && is_channels_last(input->sizes(), input->strides());
    if (first == nullptr) {
      first = input;
      dense = is_dense(shape, input->strides());
    } else {
      dense = dense && input->strides() == first->strides();
    }
  }
  if (contiguous) {
    strides = contiguous_strides(shape);
  } else if (channels_last) {
    strides = channels_last_strides(shape);
  } else if (dense) {
    strides = first->strides();
  } else {
    return false;
  }
  return true;
}

}  // namespace

Dims result_strides(std::initializer_list<const Tensor*> inputs, const Dims& shape) {
  Dims strides;
  if (fast_strides(inputs, shape, strides)) return strides;
  Operands operands;
  for (const Tensor* input : inputs) {
    VRAMWISE_CHECK(operands.count < kMaxOperands);
    operands.strides[operands.count++] = broadcast_strides(*input, shape, size_of(input->type()));
  }
  int order[kMaxRank] = {};
  order_dimensions(operands, shape, order);
  strides = Dims::filled(shape.size(), 1);
  std::int64_t next = 1;
  for (int i = 0; i < shape.size(); ++i) {
    strides[order[i]] = next;
    next *= shape[order[i]];
  }
  return strides;
}

Reduction::Reduction(const Tensor& input, unsigned reduced, DType output_type) {
  const int rank = input.rank();
  Dims output_sizes = input.sizes();
  for (int i = 0; i < rank; ++i) {
    if ((reduced >> i & 1U) != 0) output_sizes[i] = 1;
  }
  output_.element_bytes = size_of(output_type);
  input_.element_bytes = size_of(input.type());
  input_.offset_bytes = input->offset * input_.element_bytes;
  Operands operands;
  operands.count = 2;
  operands.is_reduced_output[0] = true;
  operands.strides[0] = contiguous_strides(output_sizes);
  for (int i = 0; i < rank; ++i) {
    std::int64_t& stride = operands.strides[0][i];
    stride = (reduced >> i & 1U) != 0 ? 0 : stride * output_.element_bytes;
  }
  operands.strides[1] = broadcast_strides(input, input.sizes(), input_.element_bytes);
  int order[kMaxRank] = {};
  order_dimensions(operands, input.sizes(), order);
  // Neighbours that lie in memory as one dimension, for both operands, become one.
  for (int i = 0; i < rank; ++i) {
    const int dim = order[i];
    const std::int64_t size = input.sizes()[dim];
    const std::int64_t out_stride = operands.strides[0][dim];
    const std::int64_t in_stride = operands.strides[1][dim];
    const int last = shape_.size() - 1;
    const bool joins =
        last >= 0 &&
        (size == 1 || shape_[last] == 1 ||
         (shape_[last] * output_.strides[last] == out_stride && shape_[last] * input_.strides[last] == in_stride));
    if (!joins) {
      shape_.push_back(size);
      output_.strides.push_back(out_stride);
      input_.strides.push_back(in_stride);
      continue;
    }
    if (shape_[last] == 1) {
      output_.strides[last] = out_stride;
      input_.strides[last] = in_stride;
    }
    shape_[last] *= size;
  }
}

std::int64_t Reduction::output_count() const {
  std::int64_t count = 1;
  for (int i = 0; i < rank(); ++i) {
    if (output_.strides[i] != 0 || shape_[i] == 0) count *= shape_[i];
  }
  return count;
}

int Reduction::reduced_rank() const {
  int count = 0;
  for (int i = 0; i < rank(); ++i) count += output_.strides[i] == 0 ? 1 : 0;
  return count;
}

bool Reduction::fits_32_bit() const {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (numel() > kMost) return false;
  for (const Operand* operand : {&output_, &input_}) {
    std::int64_t last = 1;
    for (int i = 0; i < rank(); ++i) last += (shape_[i] - 1) * operand->strides[i];
    if (last > kMost) return false;
  }
  return true;
}

void Reduction::split(Reduction& first, Reduction& second) const {
  std::int64_t widest = -1;
  int dim = -1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] == 0) continue;
    const std::int64_t extent = std::max((shape_[i] - 1) * output_.strides[i], (shape_[i] - 1) * input_.strides[i]);
    if (extent > widest) {
      widest = extent;
      dim = i;
    }
  }
  VRAMWISE_CHECK(dim >= 0);
  first = *this;
  second = *this;
  first.shape_[dim] = shape_[dim] / 2;
  second.shape_[dim] = shape_[dim] - first.shape_[dim];
  second.output_.offset_bytes += first.shape_[dim] * output_.strides[dim];
  second.input_.offset_bytes += first.shape_[dim] * input_.strides[dim];
}

}  // namespace vramwise::tape
