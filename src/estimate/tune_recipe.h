// The training loop of torchtune's recipe full_finetune_single_device, around a model and an optimizer.
#pragma once

#include <vector>

#include "estimate/training.h"
#include "models/model.h"
#include "tape/optim/optimizer.h"

namespace vramwise {

class TuneRecipe {
 public:
  TuneRecipe(tape::Tape& tape, Model& model, const TrainingSettings& settings);

  /// A batch, its loss and the backward pass.
  void pass();
  /// The end of a step: gradients are divided by the number of tokens, the optimizer steps, numbers are logged.
  void update(tape::Optimizer& optimizer);
  /// save_checkpoint(): what the conversion to Hugging Face's layout copies, to the end.
  void save();
  /// What each pass, or step, puts others in the place of: what the loop's names keep from one to the next.
  std::vector<AllocationId> ids_of_pass() const;
  std::vector<AllocationId> ids_of_step() const;
  /// These stand there now, after passes that were not run.
  void rename(const std::vector<AllocationId>& ids_of_pass);

 private:
  tape::Tape& tape_;
  Model& model_;
  std::vector<BatchTensor> inputs_;
  Tensor ignored_;  ///< ignore_labels_cache
  // Names of train().
  Tensor tokens_, current_count_, count_, current_loss_, running_loss_, shown_loss_;
  std::vector<Tensor> logged_;
  std::vector<Tensor> converted_;
};

}  // namespace vramwise
