// cuDNN's fixed-function descriptors: what can be asked back of them.
#pragma once

#include <cstddef>
#include <vector>

namespace vramwise::emulator {

/// Tensor and filter descriptors.
struct ShapeDescriptor {
  int data_type = 0;
  int format = 0;
  std::vector<int> dimensions;
  std::vector<int> strides;
};

/// Bytes of one element of a cudnnDataType_t; 4 for those that are no element of weights.
inline std::size_t dnn_element_size(int data_type) {
  switch (data_type) {
    case 1:
      return 8;  // DOUBLE
    case 2:
    case 9:
      return 2;  // HALF, BFLOAT16
    default:
      return 4;
  }
}

}  // namespace vramwise::emulator
