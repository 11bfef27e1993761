// Any bytes as PYTORCH_ALLOC_CONF: options within their bounds, or an error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "allocator/options.h"
#include "allocator/size_rules.h"

namespace vramwise {
namespace {

void try_options(std::string_view text) {
  const auto options = parse_allocator_options(text);
  if (!options.ok()) return;
  for (const std::int64_t bytes :
       {std::int64_t{1}, std::int64_t{1000}, std::int64_t{3} << 20, (std::int64_t{5} << 30) + 7}) {
    const std::int64_t rounded = rounded_block_bytes(*options, bytes);
    if (rounded < bytes || rounded % 512 != 0 || segment_bytes_for(*options, rounded) < rounded) std::abort();
  }
}

}  // namespace
}  // namespace vramwise

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vramwise::try_options({reinterpret_cast<const char*>(data), size});
  return 0;
}
