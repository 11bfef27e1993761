// What a plan for another trainer than ours is made for, and what it comes to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cost/device_rates.h"
#include "plan/training/knobs.h"

namespace vramwise {

/// Is told how a search gets on.
class SearchSink {
 public:
  virtual ~SearchSink() = default;
  /// One more configuration is replayed.
  virtual void on_replay() = 0;
};

struct TrainingRequest {
  ModelConfig model;
  /// The same with one and with two layers (models/shorter.h). Without them the answer is the same, but comes later.
  std::vector<ModelConfig> shorter = {};
  std::string model_name = {};        ///< as from_pretrained takes it
  std::vector<NamedText> named = {};  ///< what its documents tell of the model besides, by slot
  Trainer trainer = Trainer::kTransformers;
  /// What is kept where no knob is free to change it; micro-batch and accumulation are chosen.
  TrainingConfiguration start = {};
  std::int64_t sequences = 16;  ///< of an optimizer step, over all cards
  int cards = 1;                ///< all alike
  TrainingCard card = {};       ///< its total is not looked at: `usable` is what may be taken
  std::string card_name = {};   ///< of the catalogue, for NCCL's buffers; empty: they are not counted
  Bytes usable{};               ///< of each card, context and communicator included
  DeviceRates rates = {};
  std::vector<std::string> allowed = {};  ///< what --allow names
  std::vector<std::string> fixed = {};    ///< names of knobs that stay as `start` has them
  bool only_best = false;                 ///< without runner-ups and decisions
  SearchSink* sink = nullptr;             ///< not owned; null: nobody listens

  /// The card with the communicators that such a run opens on it.
  TrainingCard card_for(const TrainingSettings& settings) const;
  bool allows(const char* what) const;
  bool fixes(const char* knob) const;
};

/// A candidate by its numbers: an option of the space (space.h), sequences a pass, layers that are recomputed.
struct TrainingCandidate {
  std::size_t option = 0;
  std::int64_t micro_batch = 1;
  int recomputed = 0;
};

struct TrainingChoice {
  TrainingCandidate candidate;
  TrainingConfiguration configuration;
  Bytes device{};             ///< what a card holds of it, by the replay
  TrainingEstimate estimate;  ///< of all passes and ranks; of the best alone
  double seconds = 0;         ///< of an optimizer step
  int cards = 1;

  double tokens_per_s() const;
};

/// One knob that is not at its plain value, against the same configuration with it there.
struct TrainingDecision {
  std::string knob;
  std::string value;
  Mathematics mathematics = Mathematics::kSame;
  Bytes saved{};
  double slowdown = 0;  ///< part of the step's time: 0.25 is a quarter longer
  bool fits_without = true;
};

struct TrainingPlan {
  TrainingChoice best;
  std::vector<TrainingDecision> decisions;
  std::vector<TrainingChoice> runner_ups;  ///< by speed; each takes less memory than those before it
  std::vector<std::string> notes;
  std::size_t candidates = 0;  ///< configurations that were thought of
  int estimates = 0;           ///< replays, some of which ended as soon as they took too much
};

}  // namespace vramwise
