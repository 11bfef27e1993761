// The estimate of a training run as text and as JSON; decides nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "estimate/training.h"

namespace vramwise {

/// One value that the estimate rests on, and where it came from: "--seq_len", "config.json: num_hidden_layers",
/// "default".
struct EstimateInput {
  std::string name;
  std::string value;
  std::string source;
};

struct TrainingReport {
  std::string model;  ///< "llama, 8.03 B parameters"
  std::string card;   ///< "NVIDIA GeForce RTX 4090"
  std::vector<EstimateInput> inputs;
  TrainingCard hardware;
  TrainingEstimate estimate;
  std::optional<double>
      step_seconds;               ///< of an optimizer step, by the time model; absent: the card's rates are not known
  std::int64_t step_samples = 0;  ///< sequences, or images
  std::int64_t step_tokens = 0;   ///< 0: samples are no texts
  std::vector<std::string> notes;
};

std::string training_text(const TrainingReport& report);
/// Schema "vramwise.estimate" (docs/formats.md).
Json training_json(const TrainingReport& report);

}  // namespace vramwise
