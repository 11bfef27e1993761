// LlamaForCausalLM, line by line as transformers 5 runs it: which values the modules and functions keep, and for how
// long.

#include "models/decoders/llama.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "models/decoders/decoder_lm.h"
#include "models/parts/attention.h"
#include "models/parts/masks.h"
#include "models/parts/rms_norm.h"
#include "models/parts/rotary.h"
#include "tape/ops/attention.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

struct Attend {
  Linear q_proj, k_proj, v_proj, o_proj;
  RmsNorm q_norm, k_norm;
  std::int64_t head_dim;
  bool normalizes;

  Attend(ParameterMaker& m, const LlamaConfig& c)
      : q_proj(m, "self_attn.q_proj", c.hidden_size, c.heads * c.head_dim, c.qkv_bias),
        k_proj(m, "self_attn.k_proj", c.hidden_size, c.kv_heads * c.head_dim, c.qkv_bias),
        v_proj(m, "self_attn.v_proj", c.hidden_size, c.kv_heads * c.head_dim, c.qkv_bias),
        o_proj(m, "self_attn.o_proj", c.heads * c.head_dim, c.hidden_size, c.output_bias),
        head_dim(c.head_dim),
        normalizes(c.normalizes_heads) {
    if (!normalizes) return;
    q_norm = RmsNorm(m, "self_attn.q_norm", head_dim);
    k_norm = RmsNorm(m, "self_attn.k_norm", head_dim);
  }

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const std::int64_t b = hidden.size(0);
    const std::int64_t s = hidden.size(1);
    const Dims heads = {b, s, -1, head_dim};
    Tensor query = transpose(normalized(view(q_proj(hidden), heads), q_norm), 1, 2);
    Tensor key = transpose(normalized(view(k_proj(hidden), heads), k_norm), 1, 2);
    Tensor value = transpose(view(v_proj(hidden), heads), 1, 2);
    std::tie(query, key) = apply_rotary(query, key, context.cos, context.sin);
    if (context.cache != nullptr) context.cache->update(key, value, context.is_sliding);
    Attended out = attend(query, key, value, context);
    out.output = contiguous(reshape(out.output, {b, s, -1}));
    out.output = o_proj(out.output);
    return out;
  }

  Tensor normalized(Tensor heads, const RmsNorm& norm) const { return normalizes ? norm(heads) : heads; }
};

struct Mlp {
  Linear gate_proj, up_proj, down_proj;

  Mlp(ParameterMaker& m, const LlamaConfig& c)
      : gate_proj(m, "mlp.gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
        up_proj(m, "mlp.up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias),
        down_proj(m, "mlp.down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias) {}

  Tensor operator()(const Tensor& x) const {
    Tensor gate = silu(gate_proj(x));
    return down_proj(std::move(gate) * up_proj(x));
  }
};

struct Layer {
  Attend self_attn;
  Mlp mlp;
  RmsNorm input_norm, post_attention_norm;

  Layer(ParameterMaker& m, const LlamaConfig& c)
      : self_attn(m, c),
        mlp(m, c),
        input_norm(m, "input_layernorm", c.hidden_size),
        post_attention_norm(m, "post_attention_layernorm", c.hidden_size) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = residual + hidden;
    residual = hidden;
    hidden = post_attention_norm(hidden);
    hidden = mlp(hidden);
    hidden = residual + hidden;
    return hidden;
  }
};

class Llama final : public DecoderLm {
 public:
  Llama(Tape& tape, const LlamaConfig& config, DType type, const ForwardOptions& options)
      : DecoderLm(tape, type, options),
        config_(config),
        embed_(maker_, "embed_tokens", config.vocab_size, config.hidden_size) {
    layers_.reserve(static_cast<std::size_t>(config.layers));
    for (int i = 0; i < config.layers; ++i) {
      maker_.set_layer(i);
      layers_.emplace_back(maker_, config);
    }
    maker_.set_layer(-1);
    norm_ = RmsNorm(maker_, "norm", config.hidden_size);
    rotary_ = Rotary(maker_, config.head_dim);
    make_head(embed_.weight, config.ties_embeddings, config.hidden_size, config.vocab_size);
  }

 private:
  Tensor hidden_states(const Tensor& input_ids, KeyValueCache& cache) override {
    Tape& tape = input_ids.tape();
    const bool uses_cache = options_.uses_cache && !options_.checkpoints_layers;
    const Tensor embedded = embed_(input_ids);
    mark_embeddings(embedded, options_);
    Tensor positions = arange(tape, input_ids.size(1));
    positions = unsqueeze(positions + 0, 0);
    const Masks masks = make_masks(embedded, positions, uses_cache);
    Tensor hidden = embedded;
    const auto [cos, sin] = rotary_(hidden, positions);
    LayerContext context{.cos = cos,
                         .sin = sin,
                         .cache = uses_cache ? &cache : nullptr,
                         .attention = options_.attention,
                         .dropout = config_.attention_dropout,
                         .groups = config_.heads / config_.kv_heads,
                         .mask = {},
                         .positions = positions};
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      context.is_sliding = slides(i);
      context.mask = context.is_sliding ? masks.sliding : masks.full;
      hidden =
          options_.checkpoints_layers
              ? checkpoint(tape, [&layer, context](const std::vector<Tensor>& in) { return layer(in[0], context); },
                           {hidden})
              : layer(hidden, context);
    }
    return norm_(hidden);
  }

  bool slides(std::size_t layer) const { return !config_.sliding_layers.empty() && config_.sliding_layers[layer]; }

  struct Masks {
    Tensor full;
    Tensor sliding;
  };
  Masks make_masks(const Tensor& embedded, const Tensor& positions, bool uses_cache) const {
    MaskRequest request{.embeddings = embedded,
                        .positions = positions,
                        .attention = options_.attention,
                        .has_cache = uses_cache,
                        .window = {}};
    const auto& sliding = config_.sliding_layers;
    const bool some_slide = std::find(sliding.begin(), sliding.end(), true) != sliding.end();
    Masks masks;
    if (config_.makes_full_mask || !some_slide) masks.full = causal_mask(request);
    request.window = config_.sliding_window;
    if (some_slide) masks.sliding = causal_mask(request);
    return masks;
  }

  LlamaConfig config_;
  Embedding embed_;
  std::vector<Layer> layers_;
  RmsNorm norm_;
  Rotary rotary_;
};

}  // namespace

std::unique_ptr<CausalLm> llama(tape::Tape& tape, const LlamaConfig& config, DType type,
                                const ForwardOptions& options) {
  return std::make_unique<Llama>(tape, config, type, options);
}

Architecture llama_architecture(const LlamaConfig& config) {
  return {.layers = config.layers,
          .max_positions = config.max_positions,
          .takes_4bit = true,
          .make = [config](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return llama(tape, config, type, options);
          }};
}

}  // namespace vramwise
