// Mixtures of experts as transformers 5 runs them by default: the tokens sorted by expert, one grouped product for all
// experts (integrations/moe.py, "grouped_mm"). How tokens are spread over the experts changes nothing.
#pragma once

#include "models/decoders/stack_config.h"
#include "models/module.h"

namespace vramwise {

struct ExpertsConfig {
  std::int64_t experts = 8;
  std::int64_t chosen = 2;          ///< experts a token
  std::int64_t inner_size = 14336;  ///< of one expert
  bool normalizes_scores = true;    ///< the chosen ones' add up to one
  bool scores_are_float32 = false;  ///< else of the type of the router's output
};

/// …TopKRouter: scores and numbers of the chosen experts, (tokens, chosen).
struct TopKRouter {
  Tensor weight;
  ExpertsConfig config;

  TopKRouter(ParameterMaker& maker, const StackConfig& decoder, const ExpertsConfig& config);

  struct Routing {
    Tensor logits, scores, experts;
  };
  Routing operator()(const Tensor& hidden) const;
};

/// …Experts: gated feed-forward networks in two parameters of three dimensions.
struct Experts {
  Tensor gate_up_proj, down_proj;
  Activation activation;

  Experts(ParameterMaker& maker, const StackConfig& decoder, const ExpertsConfig& config);
  /// hidden: (tokens, width).
  Tensor operator()(const Tensor& hidden, const Tensor& chosen, const Tensor& scores) const;
};

/// Reads the keys that all mixtures have; the names of two differ. Fails where the auxiliary loss is asked for.
void read_experts(ConfigReader& reader, ExpertsConfig& config, const char* experts_key, const char* inner_key);

}  // namespace vramwise
