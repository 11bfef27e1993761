// The table of architectures. A new one gets its line here; everything else about it lies in its own files.

#include "models/registry.h"

#include <algorithm>

#include "models/decoders/gpt2.h"
#include "models/decoders/llama.h"
#include "models/encoders/bert.h"
#include "models/vision/vit.h"

namespace vramwise {
namespace {

struct Entry {
  const char* model_type;
  ReadArchitecture read;
};

// clang-format off: one a line
constexpr Entry kArchitectures[] = {
    {"bert", read_bert},
    {"gpt2", read_gpt2},
    {"llama", read_llama},
    {"mistral", read_mistral},
    {"qwen2", read_qwen2},
    {"qwen3", read_qwen3},
    {"roberta", read_roberta},
    {"vit", read_vit},
};
// clang-format on

}  // namespace

ReadArchitecture find_architecture(std::string_view model_type) {
  for (const Entry& entry : kArchitectures)
    if (entry.model_type == model_type) return entry.read;
  return nullptr;
}

std::vector<std::string> known_model_types() {
  std::vector<std::string> names;
  for (const Entry& entry : kArchitectures) names.emplace_back(entry.model_type);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace vramwise
