// Whether settings can be estimated, and together.
#pragma once

#include "estimate/training.h"

namespace vramwise {

/// Errors: settings that are none, whose products leave 64 bits, or whose combination is not modelled.
Status check_training(const ModelConfig& model, const TrainingSettings& settings);
/// Errors: more tokens than the model has positions for, where that stops it.
Status check_length(const ModelConfig& model, std::int64_t tokens);
/// Errors: what is not modelled on this card only.
Status check_card(const ModelConfig& model, const TrainingSettings& settings, const tape::Hardware& card);

}  // namespace vramwise
