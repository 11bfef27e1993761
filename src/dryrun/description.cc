// Every figure comes from the catalogue and the facts about CUDA builds; what neither has is left to the emulator's
// defaults, which decide no allocation.
#include "dryrun/description.h"

#include <fmt/format.h>

#include "base/json.h"
#include "gpus/cuda_facts.h"

namespace vramwise {
namespace {

Result<Json> card_json(const GpuModel& card) {
  if (card.vendor != GpuVendor::kNvidia && card.vendor != GpuVendor::kUnknown) {
    return usage_error(fmt::format("{} is not NVIDIA's: only CUDA cards can be emulated", card.id),
                       "`vramwise plan --gpu` estimates for other cards.");
  }
  if (!card.cuda_total) {
    return usage_error(fmt::format("how much memory CUDA has on {} is not known", card.id),
                       fmt::format("Name it: --gpu {}:16gb.", card.id));
  }
  const ComputeCapability capability = card.compute_capability.value_or(kAssumedCapability);
  Json json = {{"name", card.name.empty() ? card.id : card.name},
               {"total_bytes", card.cuda_total->count()},
               {"nvml_total_bytes", card.nvml_total.value_or(*card.cuda_total).count()},
               {"capability", to_string(capability)},
               {"context_bytes", cuda_context(capability, kWheelCudaMajor, card.units).bytes.count()}};
  if (card.units) json["sm_count"] = *card.units;
  return json;
}

}  // namespace

Result<Json> emulated_machine(const std::vector<GpuModel>& cards, std::optional<Bytes> context) {
  Json list = Json::array();
  for (const GpuModel& card : cards) {
    VRAMWISE_ASSIGN_OR_RETURN(Json json, card_json(card));
    if (context) json["context_bytes"] = context->count();
    list.push_back(std::move(json));
  }
  return Json{{"cards", std::move(list)}};
}

}  // namespace vramwise
