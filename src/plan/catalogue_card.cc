// See catalogue_card.h.
#include "plan/catalogue_card.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpus/cuda_facts.h"

namespace vramwise {
namespace {

// The forward and the backward thread have a cuBLAS handle each, and each handle its workspace (torch 2.14,
// CublasHandlePool.cpp).
constexpr std::int64_t kCublasHandles = 2;

}  // namespace

Target cuda_target(std::optional<ComputeCapability> capability, std::optional<int> units) {
  const ComputeCapability known = capability.value_or(kAssumedCapability);
  return {.backend = Backend::kCuda,
          .context = cuda_context(known, kWheelCudaMajor, units).bytes,
          .workspaces = cublas_workspace(known).bytes * kCublasHandles,
          .capability = 10 * known.major + known.minor,
          .sm_count = units.value_or(Target{}.sm_count)};
}

double speed_of(const GpuModel* model) {
  if (model == nullptr) return 1.0;
  if (model->tflops.fp16) return *model->tflops.fp16;
  if (model->tflops.fp32) return *model->tflops.fp32;
  return model->bandwidth_gb_s.value_or(1.0);
}

Card catalogue_card(const GpuModel& model, std::size_t index) {
  const bool bf16 =
      model.vendor != GpuVendor::kNvidia || model.compute_capability.value_or(kAssumedCapability) >= kFirstWithBf16;
  return {.name = model.name,
          .device = fmt::format("cuda:{}", index),
          .shown_total = model.nvml_total.value_or(*model.cuda_total),
          .budget = *model.cuda_total,
          .has_bf16 = bf16,
          .relative_speed = speed_of(&model),
          .target = cuda_target(model.compute_capability, model.units),
          .rates = device_rates(model)};
}

std::vector<const GpuModel*> trainable_models() {
  std::vector<const GpuModel*> models;
  for (const GpuModel& model : gpu_catalogue()) {
    const bool runs = model.compute_capability && default_torch_build().runs_on(*model.compute_capability);
    if (model.vendor == GpuVendor::kNvidia && runs && model.cuda_total && !model.unified_memory)
      models.push_back(&model);
  }
  std::stable_sort(models.begin(), models.end(), [](const GpuModel* a, const GpuModel* b) {
    if (a->memory_gb != b->memory_gb) return a->memory_gb < b->memory_gb;
    return speed_of(a) < speed_of(b);
  });
  return models;
}

}  // namespace vramwise
