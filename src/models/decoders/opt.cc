// OPTForCausalLM: learned positions that are counted by a cumulative sum of the mask, norms before each half of a layer
// (after it in the 350M one), embeddings narrower than the layers in that one too.

#include "models/decoders/opt.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "models/decoders/decoder_lm.h"
#include "models/parts/activation.h"
#include "models/parts/layers.h"
#include "models/parts/masks.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct OptConfig {
  std::int64_t vocab_size = 50272;
  std::int64_t max_positions = 2048;
  std::int64_t hidden_size = 768;
  std::int64_t embedding_size = 768;
  std::int64_t inner_size = 3072;
  int layers = 12;
  std::int64_t heads = 12;
  bool has_bias = true;
  bool normalizes_before = true;
  bool has_final_norm = true;
  bool ties_embeddings = true;
  Activation activation = Activation::kRelu;
  double dropout = 0.1;
  double attention_dropout = 0;
};

struct OptAttention {
  Linear k_proj, v_proj, q_proj, out_proj;
  std::int64_t heads;

  OptAttention(ParameterMaker& m, const OptConfig& c)
      : k_proj(m, "self_attn.k_proj", c.hidden_size, c.hidden_size, c.has_bias),
        v_proj(m, "self_attn.v_proj", c.hidden_size, c.hidden_size, c.has_bias),
        q_proj(m, "self_attn.q_proj", c.hidden_size, c.hidden_size, c.has_bias),
        out_proj(m, "self_attn.out_proj", c.hidden_size, c.hidden_size, c.has_bias),
        heads(c.heads) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims sizes = {hidden.size(0), -1, heads, hidden.size(2) / heads};
    Tensor query = q_proj(hidden) * 0.5;
    query = transpose(view(query, sizes), 1, 2);
    Tensor key = k_proj(hidden);
    Tensor value = v_proj(hidden);
    key = transpose(view(key, sizes), 1, 2);
    value = transpose(view(value, sizes), 1, 2);
    Attended out = attend_cached(query, key, value, context);
    out.output = out_proj(out.output);
    return out;
  }
};

struct OptLayer {
  OptAttention self_attn;
  LayerNorm self_attn_norm;
  Linear fc1, fc2;
  LayerNorm final_norm;
  bool normalizes_before;
  Activation activation;
  double dropout;

  OptLayer(ParameterMaker& m, const OptConfig& c)
      : self_attn(m, c),
        self_attn_norm(m, "self_attn_layer_norm", c.hidden_size),
        fc1(m, "fc1", c.hidden_size, c.inner_size, c.has_bias),
        fc2(m, "fc2", c.inner_size, c.hidden_size, c.has_bias),
        final_norm(m, "final_layer_norm", c.hidden_size),
        normalizes_before(c.normalizes_before),
        activation(c.activation),
        dropout(c.dropout) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = x;
    if (normalizes_before) hidden = self_attn_norm(hidden);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = tape::dropout(hidden, dropout);
    hidden = residual + hidden;
    if (!normalizes_before) hidden = self_attn_norm(hidden);
    const Dims shape = hidden.sizes();
    hidden = reshape(hidden, {-1, hidden.size(-1)});
    residual = hidden;
    if (normalizes_before) hidden = final_norm(hidden);
    hidden = fc1(hidden);
    hidden = activate(activation, hidden);
    hidden = fc2(hidden);
    hidden = tape::dropout(hidden, dropout);
    hidden = view(residual + hidden, shape);
    if (!normalizes_before) hidden = final_norm(hidden);
    return hidden;
  }
};

class Opt final : public DecoderLm {
 public:
  Opt(Tape& tape, const OptConfig& config, DType type, const ForwardOptions& options)
      : DecoderLm(tape, type, options),
        config_(config),
        embed_tokens_(maker_, "embed_tokens", config.vocab_size, config.embedding_size),
        embed_positions_(maker_, "embed_positions", config.max_positions + 2, config.hidden_size) {
    if (projects()) {
      project_out_ = Linear(maker_, "project_out", config.hidden_size, config.embedding_size, false);
      project_in_ = Linear(maker_, "project_in", config.embedding_size, config.hidden_size, false);
    }
    if (config.has_final_norm) final_norm_ = LayerNorm(maker_, "final_layer_norm", config.hidden_size);
    layers_.reserve(static_cast<std::size_t>(config.layers));
    for (int i = 0; i < config.layers; ++i) {
      maker_.set_layer(i);
      layers_.emplace_back(maker_, config);
    }
    maker_.set_layer(-1);
    make_head({.embeddings = embed_tokens_.weight,
               .is_tied = config.ties_embeddings,
               .width = config.embedding_size,
               .vocab_size = config.vocab_size});
  }

 private:
  bool projects() const { return config_.embedding_size != config_.hidden_size; }

  Tensor hidden_states(const Tensor& ids, KeyValueCache& cache) override {
    Tape& tape = ids.tape();
    const bool uses_cache = options_.has_cache();
    const Tensor input_ids = view(ids, {-1, ids.size(1)});
    Tensor embedded = embed_tokens_(input_ids);
    if (options_.marks_embeddings()) embedded->requires_grad = true;
    const Tensor ones = tape.empty({ids.size(0), ids.size(1)}, DType::kFloat32);
    Tensor positions = cumsum(ones, 1);
    positions = to(positions * ones - 1, DType::kInt64);
    positions = slice(positions, 1, 0, ids.size(1));
    const Tensor mask = causal_mask({.embeddings = embedded,
                                     .positions = {},
                                     .attention = options_.attention,
                                     .has_cache = uses_cache,
                                     .window = {}});
    const Tensor position_embeddings = embed_positions_(positions + 2);
    if (projects()) embedded = project_in_(embedded);
    Tensor hidden = embedded + position_embeddings;
    LayerContext context;
    context.cache = uses_cache ? &cache : nullptr;
    context.attention = options_.attention;
    context.dropout = config_.attention_dropout;
    context.mask = mask;
    context.positions = positions;
    int number = 0;
    for (const OptLayer& layer : layers_)
      hidden =
          run_layer(options_, number++, hidden, [&layer, context](const Tensor& in) { return layer(in, context); });
    if (config_.has_final_norm) hidden = final_norm_(hidden);
    if (projects()) hidden = project_out_(hidden);
    return hidden;
  }

  OptConfig config_;
  Embedding embed_tokens_;
  Embedding embed_positions_;
  Linear project_out_, project_in_;
  LayerNorm final_norm_;
  std::vector<OptLayer> layers_;
};

OptConfig opt_config(ConfigReader& r) {
  OptConfig c;
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.max_positions = r.dimension("max_position_embeddings", c.max_positions);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.embedding_size = r.has("word_embed_proj_dim") ? r.dimension("word_embed_proj_dim", 1) : c.hidden_size;
  c.inner_size = r.dimension("ffn_dim", c.inner_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.has_bias = r.flag("enable_bias", true);
  c.normalizes_before = r.flag("do_layer_norm_before", true);
  c.has_final_norm = c.normalizes_before && !r.flag("_remove_final_layer_norm", false);
  c.ties_embeddings = r.flag("tie_word_embeddings", true);
  c.activation = read_activation(r, "activation_function", "relu");
  c.dropout = r.number("dropout", c.dropout);
  c.attention_dropout = r.number("attention_dropout", 0);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("num_attention_heads {} does not divide hidden_size {}", c.heads, c.hidden_size)));
  if (r.number("layerdrop", 0) > 0) r.fail(not_modelled("layerdrop is not modelled: it leaves out layers at random"));
  if (!r.flag("layer_norm_elementwise_affine", true))
    r.fail(not_modelled("layer norms without weights are not modelled here"));
  return c;
}

}  // namespace

Architecture read_opt(ConfigReader& reader) {
  const OptConfig c = opt_config(reader);
  return {.layers = c.layers,
          .max_positions = c.max_positions,
          .has_learned_positions = true,
          .takes_chunked_loss = true,
          .make = [c](Tape& tape, DType type, const ForwardOptions& options) {
            return std::make_unique<Opt>(tape, c, type, options);
          }};
}

}  // namespace vramwise
