// The table of architectures. A new one gets its line here; everything else about it lies in its own files.

#include "models/registry.h"

#include <algorithm>

#include "models/decoders/cohere.h"
#include "models/decoders/gemma.h"
#include "models/decoders/gpt2.h"
#include "models/decoders/gpt_neox.h"
#include "models/decoders/granite.h"
#include "models/decoders/llama.h"
#include "models/decoders/mixtral.h"
#include "models/decoders/olmo.h"
#include "models/decoders/opt.h"
#include "models/decoders/phi.h"
#include "models/decoders/starcoder2.h"
#include "models/diffusion/unet.h"
#include "models/encoder_decoders/t5.h"
#include "models/encoders/bert.h"
#include "models/vision/clip.h"
#include "models/vision/resnet.h"
#include "models/vision/vit.h"

namespace vramwise {
namespace {

struct Entry {
  const char* model_type;
  ReadArchitecture read;
};

// clang-format off: one a line
constexpr Entry kArchitectures[] = {
    {"UNet2DConditionModel", read_unet},
    {"bert", read_bert},
    {"cohere", read_cohere},
    {"gemma", read_gemma},
    {"gemma2", read_gemma2},
    {"gemma3_text", read_gemma3_text},
    {"clip", read_clip},
    {"gpt2", read_gpt2},
    {"gpt_neox", read_gpt_neox},
    {"granite", read_granite},
    {"llama", read_llama},
    {"mistral", read_mistral},
    {"mixtral", read_mixtral},
    {"olmo", read_olmo},
    {"olmo2", read_olmo2},
    {"opt", read_opt},
    {"phi", read_phi},
    {"phi3", read_phi3},
    {"qwen2", read_qwen2},
    {"qwen2_moe", read_qwen2_moe},
    {"qwen3", read_qwen3},
    {"qwen3_moe", read_qwen3_moe},
    {"resnet", read_resnet},
    {"roberta", read_roberta},
    {"smollm3", read_smollm3},
    {"starcoder2", read_starcoder2},
    {"t5", read_t5},
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
