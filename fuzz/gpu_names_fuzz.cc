// Any text as --gpu and as the name that a driver gives a card.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gpus/gpu_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(vramwise::find_by_nvml_name(text));
  const auto cards = vramwise::parse_gpu_spec(text);
  if (cards.ok() && cards->empty()) std::abort();
  return 0;
}
