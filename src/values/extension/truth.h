// Which device memory holds the values that a real run would hold.
//
// Kept by storage, and within one by byte range. A storage that nothing was said of is unknown, so memory that
// PyTorch's allocator hands out anew is unknown without anybody having to notice its release: each entry holds a weak
// reference, which keeps the storage's address from being used again and tells when it has died. Safe to use from
// several threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace vramwise::values {

enum class Known {
  kNo,       ///< skipped work would have written it, wholly or in part
  kYes,      ///< its bytes are true and may be read in place
  kUniform,  ///< every element has one value, which stands beside the memory and not in it
};

struct Knowledge {
  Known known = Known::kNo;
  c10::Scalar value;  ///< of kUniform
};

/// Whether the bytes under `tensor`, a dense CUDA tensor, are true.
Knowledge knowledge_of(const at::Tensor& tensor);
/// Whether any byte under `tensor` is true.
bool partly_known(const at::Tensor& tensor);

/// The bytes under `tensor` are true now.
void set_known(const at::Tensor& tensor);
/// Every element has `value`. False, and unknown, where `tensor` is only a part of its storage.
bool set_uniform(const at::Tensor& tensor, const c10::Scalar& value);
/// The bytes under `tensor` are those of skipped work.
void set_unknown(const at::Tensor& tensor);

/// False: nothing is known of any storage.
bool anything_known();

}  // namespace vramwise::values
