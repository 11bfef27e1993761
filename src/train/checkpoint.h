// Checkpoints: <out_dir>/step-000100/ holds everything that a run needs to go on as if it had never stopped.
//
//   model.safetensors      the weights, in the compute precision, named as in transformers
//   config.json            of transformers' LlamaForCausalLM: the folder opens with AutoModelForCausalLM
//   optimizer.safetensors  exp_avg.* and exp_avg_sq.*; master.* (fp32) in 16-bit runs
//   state.json             step, data position, random states, loss scale, micro-batches, the whole RunSpec; sizes and
//                          checksums of the other files and of itself (run/checkpoint_state.h)
//
// A folder appears under its name only when all of it is on the disk; <out_dir>/latest then names it. The last two are
// kept.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "run/run_spec.h"
#include "safetensors/reader.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"
#include "train/random_state.h"

namespace vramwise {

/// How far a run is.
struct RunState {
  std::int64_t step = 0;                            ///< optimizer steps made, skipped ones included
  std::int64_t updates = 0;                         ///< steps that changed the weights
  std::int64_t sequences = 0;                       ///< taken from the training text: the data position
  double seconds = 0;                               ///< spent so far
  std::uint64_t seed = 0;                           ///< with train_tokens, what the order of the data follows from
  std::int64_t train_tokens = 0;                    ///< in the training text
  std::optional<std::int64_t> seq_len;              ///< tokens of each of the sequences; read only, absent in format 1
  std::vector<std::int64_t> planned_micro_batches;  ///< a replica each
  std::vector<std::int64_t> micro_batches;          ///< what became of them where memory ran out
  Json loss_scaler;
  RandomState random_state;
};

struct CheckpointTensors {
  torch::Tensor weights;
  OptimizerState optimizer;
  std::function<void()> touched = {};  ///< called when a piece of the optimizer's was read or written
};

/// Writes <out_dir>/step-N and removes all but the last two. Returns its path. Errors: the disk is full or fails; what
/// was there before is then untouched.
Result<std::string> write_checkpoint(const RunSpec& spec, const FlatLayout& layout, const RunState& state,
                                     const CheckpointTensors& tensors);

struct Checkpoint {
  std::string path;
  RunState state;
  SafetensorsFile model;
  SafetensorsFile optimizer;
};

struct CheckpointSearch {
  std::optional<Checkpoint> found;    ///< the newest one that is whole
  std::vector<std::string> warnings;  ///< about newer ones that are not: they were renamed to broken-step-N
};

/// Looks at the one that `latest` names, then at the others, newest first. Errors: out_dir cannot be read; there are
/// some, and none is whole; the whole one belongs to another model or precision, or to a later version (kUsage).
Result<CheckpointSearch> find_checkpoint(const RunSpec& spec);

/// Whether out_dir holds any checkpoint, whole or not.
bool has_checkpoints(const std::string& out_dir);

/// Fills weights and optimizer states (and the master copy, where there is one).
Status load_checkpoint(const Checkpoint& checkpoint, const FlatLayout& layout, const CheckpointTensors& tensors);

/// Removes unfinished folders that a killed run left. Call it with the lock of out_dir held.
void remove_leftovers(const std::string& out_dir);

}  // namespace vramwise
