// Classifiers: how many classes config.json has, and the loss.
#pragma once

#include <cstdint>

#include "models/config_reader.h"
#include "models/module.h"

namespace vramwise {

/// num_labels, or the length of id2label. Fails for problems that are not of one class out of several.
std::int64_t read_label_count(ConfigReader& reader);

/// CrossEntropyLoss()(logits.view(-1, classes), labels.view(-1)).
Tensor classification_loss(const Tensor& logits, const Tensor& labels);

}  // namespace vramwise
