// The header of a safetensors file: which tensors it holds, of what type and shape, and where.
//
// The file is: 8 bytes, the header's length N as a little-endian integer; N bytes of JSON; the data. The JSON maps each
// tensor's name to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the start of the data;
// "__metadata__" maps texts to texts. Tensors lie without gaps or overlaps, row-major, little-endian. (Specification:
// the README of huggingface/safetensors; its limit of 100 MB for the header is checked here too.)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

enum class TensorType {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64
};

const char* tensor_type_name(TensorType type);  ///< as in the file: "F32", "BF16"
std::optional<TensorType> parse_tensor_type(std::string_view name);
std::int64_t tensor_type_bytes(TensorType type);  ///< of one element

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape = {};  ///< empty: a scalar
  std::int64_t offset = 0;               ///< bytes from the start of the data

  std::int64_t elements() const;
  std::int64_t bytes() const { return elements() * tensor_type_bytes(type); }
};

using TensorMetadata = std::map<std::string, std::string>;

struct TensorHeader {
  std::vector<TensorInfo> tensors;  ///< by offset
  TensorMetadata metadata;
  std::int64_t data_bytes = 0;
};

/// The JSON of a header, filled up with spaces so that data starts at a multiple of 8 bytes. Offsets are those of the
/// order given (`offset` is ignored), so types of larger elements should come first where types are mixed.
std::string encode_header(const std::vector<TensorInfo>& tensors, const TensorMetadata& metadata);

/// Errors, which begin with `where` (the file's name): no JSON object, a key missing or given twice, an unknown type, a
/// negative dimension, a size beyond 64 bits, offsets that don't agree with the shape, gaps, overlaps.
Result<TensorHeader> decode_header(std::string_view json, const std::string& where);

}  // namespace vramwise
