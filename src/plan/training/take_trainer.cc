// See take_trainer.h.
#include "plan/training/take_trainer.h"

#include "plan/training/words.h"

namespace vramwise {
namespace {

/// Most trainers would train weights of float16 without loss scaling (words.cc).
TrainingPrecision precision_of_checkpoint(const ModelConfig& model, Trainer trainer) {
  if (model.saved_dtype == tape::DType::kFloat32) return TrainingPrecision::kFp32;
  const bool is_fp16 = model.saved_dtype == tape::DType::kFloat16 && can_take(trainer, *find_knob("precision"), "fp16");
  return is_fp16 && model.architecture.takes_fp16_weights ? TrainingPrecision::kFp16 : TrainingPrecision::kBf16;
}

}  // namespace

void take_trainer(TrainingRequest& request, Trainer trainer) {
  TrainingSettings& settings = request.start.settings;
  request.trainer = trainer;
  if (!request.fixes("precision")) settings.precision = precision_of_checkpoint(request.model, trainer);
  settings.parallel.kind = trainer == Trainer::kDeepSpeed ? Parallel::kDeepSpeed : Parallel::kNone;
  settings.copies_outputs = copies_outputs(trainer);
}

}  // namespace vramwise
