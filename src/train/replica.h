// Replica: one copy of the model on one device, with its gradients. It computes; it does not update itself.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "data/token_source.h"
#include "estimate/step.h"
#include "nn/decoder.h"
#include "train/flat_parameters.h"
#include "train/optimizer.h"

namespace vramwise {

/// Sequences of one text: sequence i is seq_len tokens from starts[i] on, its targets the tokens from starts[i] + 1 on.
struct SequenceBatch {
  const TokenSource* tokens = nullptr;
  std::span<const std::int64_t> starts;
};

/// Called before each micro-batch with its index and its number of sequences.
using BeforeMicroBatch = std::function<void(std::int64_t index, std::int64_t sequences)>;

class Replica {
 public:
  /// Takes the memory for weights and gradients; weights are zeros until somebody fills them.
  Replica(const DecoderConfig& config, const FlatLayout& layout, const StepSettings& settings, torch::Device device);

  /// Adds the gradients of scale * (sum of negative log-likelihoods over `batch`) to the flat gradients, in
  /// micro-batches of at most `micro_batch` sequences. Returns the sum (nats), not scaled. Errors: the tokens cannot be
  /// read. May throw c10::Error, when memory runs out among others. After either the gradients hold an unknown part.
  Result<double> accumulate(const SequenceBatch& batch, std::int64_t micro_batch, double scale,
                            const BeforeMicroBatch& before);

  /// The sum of negative log-likelihoods alone. Errors: the tokens cannot be read. May throw c10::Error.
  Result<double> evaluate(const SequenceBatch& batch, std::int64_t micro_batch, const BeforeMicroBatch& before);

  /// Gradients become zeros, also those that a failed step left behind.
  void clear_gradients();

  const FlatModel& flat() const { return flat_; }
  torch::Device device() const { return device_; }
  Decoder& decoder() { return decoder_; }

 private:
  struct Tokens {
    torch::Tensor ids;
    torch::Tensor targets;
  };

  std::vector<torch::Tensor> make_parameters(const FlatLayout& layout) const;
  Result<Tokens> load(const SequenceBatch& batch) const;

  StepSettings settings_;
  torch::Device device_;
  FlatModel flat_;
  std::vector<torch::Tensor> gradients_;   ///< views into flat_.gradients
  std::vector<torch::Tensor> parameters_;  ///< views into flat_.weights
  Decoder decoder_;
};

/// gradients of the first += those of the others, in their order.
void sum_gradients(std::span<const std::unique_ptr<Replica>> replicas);

/// Weights of the others = those of the first.
void copy_weights(std::span<const std::unique_ptr<Replica>> replicas);

}  // namespace vramwise
