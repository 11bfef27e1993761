// What tests of searches for other trainers share: a small model, and a request for it.
#pragma once

#include <fmt/format.h>

#include <string>

#include "models/shorter.h"
#include "plan/training/request.h"

namespace vramwise {

inline std::string llama(int layers) {
  return fmt::format(R"({{"model_type": "llama", "vocab_size": 4000, "hidden_size": 512, "num_hidden_layers": {},
  "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 1408, "max_position_embeddings": 4096}})",
                     layers);
}

inline void take_model(TrainingRequest& request, const std::string& config) {
  request.model = parse_model_config(config, "test").value();
  request.shorter = shorter_models(config, request.model);
}

inline TrainingRequest request_for(Bytes usable, Trainer trainer = Trainer::kTransformers, int cards = 1) {
  TrainingRequest request;
  take_model(request, llama(3));
  request.trainer = trainer;
  request.start.settings.optimizer = TrainingOptimizer::kAdamWFused;
  request.start.settings.seq_len = 1024;
  if (trainer == Trainer::kDeepSpeed) request.start.settings.parallel.kind = Parallel::kDeepSpeed;
  request.cards = cards;
  request.usable = usable;
  request.card.hardware = tape::Hardware::of(86, 82);
  request.card.context = Bytes::mib(300);
  request.rates = device_rates(*find_gpu("rtx-3090"));
  return request;
}

}  // namespace vramwise
