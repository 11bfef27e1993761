// See card.h.
#include "plan/training/card.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpus/cuda_facts.h"
#include "gpus/nccl_memory.h"
#include "plan/training/words.h"

namespace vramwise {

TrainingCard TrainingRequest::card_for(const TrainingSettings& settings) const {
  TrainingCard one = card;
  const int number = communicators(settings, cards);
  if (number > 0 && !card_name.empty())
    one.communicator = Bytes(number * usual_communicator(card_name, card.hardware.capability, cards).count());
  return one;
}

Status put_on(TrainingRequest& request, const GpuModel& model, std::optional<Bytes> target, Bytes margin) {
  if (!model.cuda_total) return usage_error(fmt::format("the memory of {} is not known", model.name));
  const tape::Hardware hardware = hardware_of(model);
  const ComputeCapability capability =
      model.compute_capability.value_or(ComputeCapability{hardware.capability / 10, hardware.capability % 10});
  request.card = {.hardware = hardware,
                  .total = model.cuda_total,
                  .context = cuda_context(capability, kWheelCudaMajor, model.units).bytes};
  request.card_name = model.name;
  // DeepSpeed looks at it.
  request.start.settings.parallel.deepspeed.card_bytes = model.cuda_total->count();
  request.rates = device_rates(model);
  request.usable = std::min(*model.cuda_total, target.value_or(*model.cuda_total)) - margin;
  if (request.usable > Bytes(0)) return Done{};
  return usage_error("the safety margin leaves nothing of the card", "Give a smaller --vram_safety_margin.");
}

}  // namespace vramwise
