// RunSpec: everything that one training run is told, resolved: no "auto", no presets, nothing left to look up.
//
// `vramwise train` plans, writes this as <out_dir>/run.json and starts `vramwise-train` with it. The trainer decides
// nothing that stands here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json_fwd.h"
#include "base/result.h"
#include "estimate/step.h"
#include "models/decoder.h"

namespace vramwise {

/// One model replica on one device; the first of several holds the optimizer. Unequal cards have unequal micro-batches,
/// and may recompute unequal numbers of blocks; all replicas share the other settings.
struct ReplicaSpec {
  std::string device = "cpu";  ///< "cpu" or "cuda:N", N as CUDA counts the visible cards
  std::int64_t micro_batch = 1;
  /// Of an optimizer step; 0 in all replicas: shared out in proportion to the micro-batches.
  std::int64_t sequences = 0;
  std::optional<CardKnobs> knobs = {};  ///< absent: those of the run's settings
  Bytes predicted_peak{};  ///< memory of this device at the peak of a step, beyond what was taken before the model was
                           ///< built
  Bytes budget{};          ///< what the plan may take there

  bool operator==(const ReplicaSpec&) const = default;
};

struct OptimizerSpec {
  double learning_rate = 3e-4;      ///< at the end of warm-up
  double min_learning_rate = 3e-5;  ///< at the end of the cosine
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;   ///< on matrices only
  double max_grad_norm = 1.0;  ///< 0: no clipping
  std::int64_t warmup_steps = 100;

  bool operator==(const OptimizerSpec&) const = default;
};

struct ScheduleSpec {
  std::int64_t max_steps = 1000;           ///< optimizer steps
  std::int64_t eval_every = 100;           ///< steps; 0: only at the end
  std::int64_t eval_batches = 20;          ///< of kEvalBatchTokens each: how much text an evaluation takes, at most
  std::int64_t save_every = 500;           ///< steps; 0: only at the end
  std::int64_t log_every = 10;             ///< steps between progress lines where stderr is no terminal
  std::optional<double> stop_at_val_loss;  ///< nats a token: end early once an evaluation is at or below it
  std::int64_t sample_tokens = 200;        ///< length of the text generated at the end; 0: none
  std::uint64_t seed = 1337;

  bool operator==(const ScheduleSpec&) const = default;
};

/// Tokens of an evaluation batch. A constant, so that the validation loss does not hang on the memory plan: how many of
/// them are computed at a time does.
inline constexpr std::int64_t kEvalBatchTokens = 4096;

/// Sequences of `seq_len` tokens an evaluation takes at most: the least that hold all its batches.
std::int64_t eval_sequences(const ScheduleSpec& schedule, std::int64_t seq_len);

struct DataSpec {
  std::string data_dir;
  std::string tokenizer;  ///< path of a SentencePiece model; empty: bytes, or the ids of a token file

  bool operator==(const DataSpec&) const = default;
};

struct RunSpec {
  DecoderConfig model;
  StepSettings step;  ///< micro_batch is that of replica 0
  std::vector<ReplicaSpec> replicas;
  /// Sequences an optimizer step; 0: the sum over replicas of micro-batch x accumulation. Never more than that sum;
  /// less where a run goes on with micro-batches that do not divide what it began with.
  std::int64_t effective_batch = 0;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  DataSpec data;
  std::string out_dir;
  bool resume = false;    ///< continue from <out_dir>'s newest checkpoint
  std::string init_from;  ///< begin with the weights of this safetensors file, or of a folder with model.safetensors;
                          ///< empty: a fresh start from the seed

  StepSettings settings_of(const ReplicaSpec& replica) const;
  /// Sequences an optimizer step: effective_batch, or what it stands for where it is 0.
  std::int64_t effective_batch_size() const;

  bool operator==(const RunSpec&) const = default;
};

Json to_json(const RunSpec& spec);

/// Errors name the key that is missing or of another type.
Result<RunSpec> run_spec_from_json(const Json& json);

}  // namespace vramwise
