// The forward pass: which weight goes where. The operators are those of ops.h; what they save is what a step takes.
#include "nn/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "nn/checkpoint.h"
#include "nn/loss.h"
#include "nn/ops.h"

namespace vramwise {

using torch::Tensor;

namespace {

constexpr std::size_t kWeightsBeforeBlocks = 1;  // the embedding

}  // namespace

Decoder::Decoder(DecoderConfig config, std::vector<Tensor> weights) : config_(config), weights_(std::move(weights)) {
  const std::vector<ParameterShape> expected = parameters(config_);
  VRAMWISE_CHECK_THAT(weights_.size() == expected.size(), "one tensor for each parameter");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    VRAMWISE_CHECK_THAT(weights_[i].sizes() == expected[i].shape, expected[i].name);
    VRAMWISE_CHECK_THAT(weights_[i].scalar_type() == weights_[0].scalar_type(), expected[i].name);
    VRAMWISE_CHECK_THAT(weights_[i].device() == weights_[0].device(), expected[i].name);
  }
}

const Tensor& Decoder::weight(std::int64_t layer, BlockWeight which) const {
  return weights_[kWeightsBeforeBlocks + static_cast<std::size_t>(layer) * kWeightsOfBlock + which];
}

const Tensor& Decoder::final_norm() const {
  return weights_[kWeightsBeforeBlocks + static_cast<std::size_t>(config_.n_layers) * kWeightsOfBlock];
}

const Tensor& Decoder::output_embedding() const { return config_.tie_embeddings ? weights_.front() : weights_.back(); }

RopeTables Decoder::rope_tables(std::int64_t first, std::int64_t count) {
  const std::int64_t positions = first + count;
  if (!rope_.defined() || rope_.size(1) < positions) {
    const RopeTables all = make_rope_tables(positions, config_.head_dim, config_.rope_theta, weights_.front().device());
    rope_ = at::stack({all.cosines, all.sines});
  }
  const Tensor wanted = rope_.narrow(1, first, count);
  return {wanted[0], wanted[1]};
}

Tensor Decoder::run_block(std::int64_t layer, const Tensor& x, const RopeTables& rope,
                          const Attention& attention) const {
  const auto [q, k, v] =
      project_qkv(x, weight(layer, kAttentionNorm), {weight(layer, kQuery), weight(layer, kKey), weight(layer, kValue)},
                  rope, config_.rms_norm_eps);
  const Tensor mixed = attention(q, k, v);
  const Tensor middle = at::addmm(x, mixed, weight(layer, kOutput).t());
  const auto [gate, up] =
      project_gate_up(middle, weight(layer, kMlpNorm), weight(layer, kGate), weight(layer, kUp), config_.rms_norm_eps);
  return swiglu_down(middle, gate, up, weight(layer, kDown));
}

// (batch, seq) → (batch * seq, hidden) before the last norm.
Tensor Decoder::run_blocks(const Tensor& ids, std::int64_t checkpointed_blocks) {
  const HeadLayout layout{.batch = ids.size(0),
                          .seq = ids.size(1),
                          .n_heads = config_.n_heads,
                          .n_kv_heads = config_.n_kv_heads,
                          .head_dim = config_.head_dim};
  const RopeTables rope = rope_tables(0, layout.seq);
  const auto attention = [layout](const Tensor& q, const Tensor& k, const Tensor& v) {
    return causal_attention(q, k, v, layout);
  };
  Tensor x = embed(weights_.front(), ids.reshape({-1}));
  for (std::int64_t layer = 0; layer < config_.n_layers; ++layer) {
    const bool keep = layer >= checkpointed_blocks || !torch::GradMode::is_enabled() || !x.requires_grad();
    const auto block = [this, layer, rope, attention](const Tensor& input) {
      return run_block(layer, input, rope, attention);
    };
    x = keep ? block(x) : checkpoint(block, x);
  }
  return x;
}

Tensor Decoder::hidden(const Tensor& ids, std::int64_t checkpointed_blocks) {
  return rms_norm(run_blocks(ids, checkpointed_blocks), final_norm(), config_.rms_norm_eps);
}

LossOutput Decoder::loss(const Tensor& ids, const Tensor& targets, const LossSettings& settings) {
  VRAMWISE_CHECK(ids.sizes() == targets.sizes() && settings.loss_chunk_tokens > 0);
  HeadLoss out = head_loss(
      run_blocks(ids, settings.checkpointed_blocks), final_norm(), output_embedding(),
      targets.reshape({-1}).contiguous(),
      {.norm_eps = config_.rms_norm_eps, .chunk_tokens = settings.loss_chunk_tokens, .scale = settings.scale});
  return {std::move(out.scaled), std::move(out.nll_sum)};
}

// New queries see all that came before, and of the new tokens those up to their own.
Tensor Decoder::attend_with_cache(std::int64_t layer, const std::array<Tensor, 3>& qkv, KvCache& cache,
                                  std::int64_t batch) const {
  const std::int64_t added = qkv[0].size(0) / batch;
  const std::int64_t length = cache.length + added;
  const auto heads = [&](const Tensor& x, std::int64_t n) {
    return x.view({batch, added, n, config_.head_dim}).transpose(1, 2);
  };
  const auto append = [&](Tensor& store, const Tensor& x) {
    if (!store.defined() || store.size(2) < length) {
      const std::int64_t capacity = std::max<std::int64_t>(2 * cache.length, length + 256);
      Tensor larger = at::empty({batch, config_.n_kv_heads, capacity, config_.head_dim}, x.options());
      if (cache.length > 0) larger.narrow(2, 0, cache.length).copy_(store.narrow(2, 0, cache.length));
      store = std::move(larger);
    }
    store.narrow(2, cache.length, added).copy_(heads(x, config_.n_kv_heads));
    return store.narrow(2, 0, length);
  };
  const auto at_layer = static_cast<std::size_t>(layer);
  const Tensor keys = append(cache.keys[at_layer], qkv[1]);
  const Tensor values = append(cache.values[at_layer], qkv[2]);
  std::optional<Tensor> mask;
  if (cache.length > 0 && added > 1) {
    mask = at::ones({added, length}, keys.options().dtype(torch::kBool)).tril(cache.length);
  }
  const Tensor out = at::scaled_dot_product_attention(heads(qkv[0], config_.n_heads), keys, values, mask, 0.0,
                                                      /*is_causal=*/cache.length == 0, std::nullopt,
                                                      config_.n_heads != config_.n_kv_heads);
  return out.transpose(1, 2).reshape({batch * added, config_.n_heads * config_.head_dim});
}

Tensor Decoder::next_token_logits(const Tensor& ids, KvCache& cache) {
  const torch::NoGradGuard no_grad;
  const std::int64_t batch = ids.size(0);
  const std::int64_t added = ids.size(1);
  cache.keys.resize(static_cast<std::size_t>(config_.n_layers));
  cache.values.resize(static_cast<std::size_t>(config_.n_layers));
  const RopeTables rope = rope_tables(cache.length, added);
  Tensor x = embed(weights_.front(), ids.reshape({-1}));
  for (std::int64_t layer = 0; layer < config_.n_layers; ++layer) {
    x = run_block(layer, x, rope, [&](const Tensor& q, const Tensor& k, const Tensor& v) {
      return attend_with_cache(layer, {q, k, v}, cache, batch);
    });
  }
  cache.length += added;
  const Tensor last = x.view({batch, added, config_.hidden_size}).select(1, added - 1).contiguous();
  return at::mm(rms_norm(last, final_norm(), config_.rms_norm_eps), output_embedding().t()).to(torch::kFloat);
}

}  // namespace vramwise
