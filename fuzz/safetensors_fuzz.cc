// Any bytes as the header of a safetensors file: an error, or tensors that lie within the data one after the other.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "safetensors/header.h"

namespace vramwise {
namespace {

void try_header(std::string_view json) {
  const auto header = decode_header(json, "input");
  if (!header.ok()) return;
  std::int64_t end = 0;
  for (const TensorInfo& tensor : header->tensors) {
    if (tensor.offset != end || tensor.bytes() < 0) std::abort();
    end += tensor.bytes();
  }
  if (end != header->data_bytes) std::abort();
  const auto again = decode_header(encode_header(header->tensors, header->metadata), "again");
  if (!again.ok() || again->data_bytes != header->data_bytes) std::abort();
}

}  // namespace
}  // namespace vramwise

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vramwise::try_header({reinterpret_cast<const char*>(data), size});
  return 0;
}
