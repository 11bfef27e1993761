// Any text as a model's config.json. What is read and small enough is also made, on shapes.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "models/config.h"
#include "tape/tape.h"

namespace {

// Made models take time and host memory by their layers only.
constexpr int kMostLayers = 8;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vramwise;
  const auto config = parse_model_config({reinterpret_cast<const char*>(data), size}, "config.json");
  if (!config.ok()) return 0;
  if (config->architecture.layers < 1) std::abort();
  if (config->architecture.layers > kMostLayers) return 0;
  tape::Tape tape(tape::Hardware::of(86, 82));
  const auto model = config->architecture.make(tape, DType::kBFloat16, {});
  for (const Tensor& parameter : model->parameters())
    if (parameter.bytes() <= 0) std::abort();
  return 0;
}
