// The decoder in libtorch: forward pass, loss and generation for weights that somebody else owns.
//
// It is built for training in little, predictable memory: every operator saves only what its backward pass needs,
// logits exist for one chunk of tokens at a time, and blocks can be recomputed instead of kept. src/estimate/ledger.cc
// predicts what it takes and has to change with it.
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "models/decoder.h"

namespace vramwise {

/// A target with this value takes no part in the loss.
inline constexpr std::int64_t kIgnoredTarget = -100;

struct RopeTables;

struct LossSettings {
  std::int64_t checkpointed_blocks = 0;   ///< the first K blocks keep only their input (StepSettings)
  std::int64_t loss_chunk_tokens = 1024;  ///< logits of so many tokens exist at a time
  /// Gradients are those of scale * (sum of the negative log-likelihoods): usually (loss scale) / (tokens of the step).
  /// It is applied in fp32, before any gradient is rounded to 16 bits.
  double scale = 1.0;
};

struct LossOutput {
  /// scale * sum of the negative log-likelihoods, an fp32 scalar. Call .backward() on it, once. Undefined in no-grad
  /// mode.
  torch::Tensor to_backward;
  /// Sum of the negative log-likelihoods (nats) over the targets that count: an fp32 scalar on the model's device,
  /// detached.
  torch::Tensor nll_sum;
};

/// Keys and values of the tokens seen so far, for generation. Grows by itself.
struct KvCache {
  std::vector<torch::Tensor> keys;    ///< a layer: (batch, n_kv_heads, capacity, head_dim)
  std::vector<torch::Tensor> values;  ///< as keys
  std::int64_t length = 0;            ///< tokens held
};

class Decoder {
 public:
  /// `weights`: one tensor per parameters(config), in that order and of those shapes, all in the compute dtype (fp32,
  /// bf16 or fp16) on one device. They may be views into a flat buffer; those that train are leaves with requires_grad.
  /// The tensors are shared, not copied: a change of their contents is seen by the next call. `config` must be valid.
  Decoder(DecoderConfig config, std::vector<torch::Tensor> weights);

  /// ids (batch, seq) int64 → final hidden states (batch * seq, hidden), after the last norm.
  torch::Tensor hidden(const torch::Tensor& ids, std::int64_t checkpointed_blocks);

  /// ids and targets: (batch, seq) int64; the target of a token is the token after it, or kIgnoredTarget. Ids and the
  /// targets that count must lie in [0, vocab_size).
  LossOutput loss(const torch::Tensor& ids, const torch::Tensor& targets, const LossSettings& settings);

  /// Logits of the token that follows `ids` (batch, new tokens), which continue what `cache` holds; appends them to
  /// `cache`. Returns (batch, vocab_size) fp32. Computes no gradients.
  torch::Tensor next_token_logits(const torch::Tensor& ids, KvCache& cache);

  const DecoderConfig& config() const { return config_; }
  const std::vector<torch::Tensor>& weights() const { return weights_; }

 private:
  /// Order within a layer, as parameters(config) has it.
  enum BlockWeight : std::size_t {
    kAttentionNorm,
    kQuery,
    kKey,
    kValue,
    kOutput,
    kMlpNorm,
    kGate,
    kUp,
    kDown,
    kWeightsOfBlock
  };
  using Attention =
      std::function<torch::Tensor(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v)>;

  const torch::Tensor& weight(std::int64_t layer, BlockWeight which) const;
  const torch::Tensor& final_norm() const;
  const torch::Tensor& output_embedding() const;
  RopeTables rope_tables(std::int64_t first, std::int64_t count);
  torch::Tensor run_block(std::int64_t layer, const torch::Tensor& x, const RopeTables& rope,
                          const Attention& attention) const;
  torch::Tensor run_blocks(const torch::Tensor& ids, std::int64_t checkpointed_blocks);
  torch::Tensor attend_with_cache(std::int64_t layer, const std::array<torch::Tensor, 3>& qkv, KvCache& cache,
                                  std::int64_t batch) const;

  DecoderConfig config_;
  std::vector<torch::Tensor> weights_;
  torch::Tensor rope_;  ///< (2, positions, head_dim / 2) fp32: cosines, then sines; grows
};

/// Fills `weights` (as for Decoder, but fp32) with a fresh start: normal(0, 0.02), projections into the residual stream
/// (o_proj, down_proj) by 1 / sqrt(2 n_layers) smaller, norms 1. Draws in the order of parameters(config); for equal
/// starts on all devices draw on the CPU and copy.
void initialize(const DecoderConfig& config, const std::vector<torch::Tensor>& weights, at::Generator generator);

/// accumulated += gradient; fp32 += fp32, bf16 or fp16 of the same shape, without a temporary of their size.
void add_gradient(torch::Tensor& accumulated, const torch::Tensor& gradient);

}  // namespace vramwise
