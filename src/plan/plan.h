// The plan: what the user asked for and has, the configuration that was chosen, what it takes, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "cost/device_rates.h"
#include "estimate/ledger.h"
#include "estimate/step.h"
#include "models/decoder.h"
#include "plan/vram_target.h"

namespace vramwise {

/// One device that a replica could run on: a real card, one out of the catalogue, or the host.
struct Card {
  std::string name = {};  ///< "NVIDIA GeForce RTX 4090"; for the host the CPU's name
  Backend backend = Backend::kCuda;
  std::string device = {};      ///< "cuda:0", "cpu": where the trainer would find it
  std::string uuid = {};        ///< "GPU-…", as CUDA_VISIBLE_DEVICES takes it; empty: not known
  Bytes shown_total = {};       ///< what nvidia-smi shows; on the CPU the host's memory
  Bytes budget = {};            ///< what may be planned with: CUDA's total less what others use; before the margin
  bool has_bf16 = true;         ///< compute capability 8.0 or later
  double relative_speed = 1.0;  ///< against the other cards: micro-batches are shared out in this proportion
  Target target = {};           ///< context and workspaces, for the estimate
  DeviceRates rates = {};       ///< for the prediction of time
};

enum class Strategy {
  kGuide,    ///< the table's row, shrunk until it fits
  kFastest,  ///< the most tokens a second that fit, at the same effective batch
  kSafest,   ///< the most memory left over at no less than 90 % of that
};
const char* strategy_name(Strategy strategy);  ///< "guide", "fastest", "safest"
Result<Strategy> parse_strategy(const std::string& name);

/// What a search may change beyond what only costs time.
struct Allowed {
  bool seq_len = false;    ///< a shorter sequence, where nothing fits otherwise
  bool precision = false;  ///< fp32, and 16 bits where the card has units for them
};

/// Where the cards of a plan come from.
enum class CardOrigin {
  kDetected,  ///< probed on this machine
  kChosen,    ///< named with --gpu
  kAssumed,   ///< no card here and none named: one card with the memory of --vram
  kHost,      ///< the CPU with the host's memory
};

/// What the user fixed; absent: the planner decides.
struct Overrides {
  std::optional<std::int64_t> micro_batch = {};
  std::optional<std::int64_t> seq_len = {};
  std::optional<std::int64_t> gradient_accumulation_steps = {};
  std::optional<Precision> precision = {};
  std::optional<std::int64_t> checkpointed_blocks = {};
  std::optional<bool> offload_optimizer = {};
  std::optional<std::int64_t> loss_chunk_tokens = {};
  /// Sequences an optimizer step: accumulation follows from it and the micro-batch. Not with both micro_batch and
  /// gradient_accumulation_steps.
  std::optional<std::int64_t> effective_batch = {};
};

/// One tier below the device: where offloaded optimizer states would go.
struct OffloadTier {
  std::string name = {};  ///< "host memory", "the disk of out"
  Bytes room = {};
};

bool fixes_anything(const Overrides& overrides);

struct PlanRequest {
  DecoderConfig model;
  std::string model_name = {};   ///< "medium", or "custom" where dimensions were given
  std::vector<Card> cards = {};  ///< at least one
  CardOrigin origin = CardOrigin::kDetected;
  VramTarget target = {};
  Bytes safety_margin = kDefaultSafetyMargin;
  Overrides overrides;
  std::optional<OffloadTier> offload_tier = {};  ///< absent: not known, and taken for large enough
  Strategy strategy = Strategy::kGuide;
  Allowed allowed = {};
  /// A saved plan's: one for each card, then nothing of it is chosen anew.
  std::vector<std::int64_t> micro_batches = {};
  std::vector<std::int64_t> sequences = {};  ///< of an optimizer step, for each card
  std::vector<CardKnobs> knobs = {};         ///< for each card; empty: the same for all
};

/// One replica of the plan.
struct CardPlan {
  Card card = {};
  Bytes target = {};  ///< this card's share of the target
  Bytes usable = {};  ///< target less the safety margin
  /// One card has the optimizer's states, the one with most usable memory; the others send it gradients and receive
  /// weights.
  bool holds_optimizer = false;
  std::int64_t micro_batch = 1;
  std::int64_t sequences = 1;  ///< of an optimizer step, computed in as few passes as micro_batch allows
  CardKnobs knobs = {};
  Ledger ledger = {};

  /// Weights, gradients and the optimizer's states that this card holds.
  Bytes model_memory() const;
};

/// One choice and what it was made for: data, so that text and JSON tell the same.
struct Decision {
  std::string knob = {};    ///< "micro_batch", "activation_checkpointing", …
  std::string change = {};  ///< "4 → 2"
  std::string reason = {};
  /// Against the same configuration without it, on the fullest card; absent where that was not worked out.
  std::optional<Bytes> saved = {};
  std::optional<double> slowdown = {};  ///< part of the step's time: 0.25 is a quarter longer
};

/// A configuration that was not chosen: nothing faster takes less memory.
struct RunnerUp {
  StepSettings step = {};    ///< micro_batch and accumulation are those of the first card
  std::string batches = {};  ///< micro-batch x passes of each card: "8 x 2", "15 x 1 + 7 x 2"
  Bytes device = {};         ///< predicted on the fullest card
  double fullness = 0;       ///< as part of what that card may use
  double tokens_per_s = 0;
};

struct Plan {
  PlanRequest request;
  StepSettings step;  ///< micro_batch and knobs are those of the first card
  std::vector<CardPlan> cards;
  Bytes total_target = {};                ///< the sum over cards of their targets
  Bytes model_memory = {};                ///< weights, gradients and optimizer states on the device that holds them all
  std::vector<Decision> decisions;        ///< empty: the table's row stands as it is
  std::vector<std::string> notes;         ///< things the user should know, one sentence each
  std::string description = {};           ///< "Auto-optimized for 16.0GB VRAM"
  double step_seconds = 0;                ///< predicted, of an optimizer step
  bool time_is_known = false;             ///< otherwise step_seconds only compares with others for the same cards
  std::vector<RunnerUp> runner_ups = {};  ///< of a search, by speed
  std::string gain = {};                  ///< what gain_of_fastest() says, where it was asked
  int replays = 0;                        ///< of steps through the allocator, that the search took

  std::int64_t effective_batch_size() const;
  double tokens_per_s() const;         ///< 0 where no time was predicted
  std::size_t optimizer_card() const;  ///< index into cards
};

/// A plan by the request's strategy. Guide: the table's row for the card; if that does not fit, a smaller micro-batch
/// with more accumulation, then activation checkpointing, then optimizer states off the device, then a shorter
/// sequence. The others search (plan/search). What the user fixed stays fixed. Errors: kUsage where the margin leaves
/// nothing; kDoesNotFit where no configuration fits (the message says how much is missing).
Result<Plan> make_plan(const PlanRequest& request);

/// The target divided over the cards in proportion to their budgets; never more than 2^63 bytes.
std::vector<Bytes> spread_target(Bytes total, const std::vector<Card>& cards);

/// How much faster the fastest strategy would be at the same sequence length and effective batch, and with what: one
/// line, for plans of the guide strategy. Empty where it finds nothing.
std::string gain_of_fastest(const Plan& plan);

/// The largest micro-batch of the first card with which the plan, otherwise unchanged, still fits.
std::int64_t largest_micro_batch_that_fits(const Plan& plan);

}  // namespace vramwise
