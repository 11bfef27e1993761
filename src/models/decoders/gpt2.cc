// GPT2LMHeadModel, line by line: learned positions, layer norms before each half of a block, Conv1D (a linear layer
// with its weight the other way round), GELU of plain operators, dropout everywhere.

#include "models/decoders/gpt2.h"

#include <utility>
#include <vector>

#include "models/decoders/decoder_lm.h"
#include "models/parts/activation.h"
#include "models/parts/attention.h"
#include "models/parts/layers.h"
#include "models/parts/masks.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

Attended attend_eager(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context) {
  Tensor weights = matmul(query, transpose(key, -1, -2)) * 0.5;
  if (context.mask.defined()) weights = weights + context.mask;
  weights = softmax(weights, -1);
  weights = to(weights, value.type());
  weights = dropout(weights, context.dropout);
  Tensor out = matmul(weights, value);
  out = transpose(out, 1, 2);
  return {std::move(out), std::move(weights)};
}

// torch.nn.Dropout
Tensor dropped_out(ModuleId module, const Tensor& x, double probability) {
  return call_module(module, {}, x, [probability](const Tensor& in) { return dropout(in, probability); });
}

struct Attention1d {
  Conv1d c_attn, c_proj;
  std::int64_t width, head_dim;
  double residual_dropout;
  ModuleTag tag, dropout_tag;

  Attention1d(ParameterMaker& m, const Gpt2Config& c)
      : c_attn(m, "attn.c_attn", c.hidden_size, 3 * c.hidden_size),
        c_proj(m, "attn.c_proj", c.hidden_size, c.hidden_size),
        width(c.hidden_size),
        head_dim(c.hidden_size / c.heads),
        residual_dropout(c.residual_dropout) {}

  Attended operator()(const Tensor& in, const LayerContext& context) const {
    ModuleHooks* hooks = in.tape().module_hooks();
    if (hooks == nullptr) return forward(in, context);
    hooks->enter(&tag, {});
    Attended out = forward(hooks->input(&tag, in), context);
    hooks->leave(&tag);
    out.output = hooks->output(&tag, out.output);
    if (out.weights.defined()) out.weights = hooks->output(&tag, out.weights);
    return out;
  }

  Attended forward(const Tensor& hidden, const LayerContext& context) const {
    std::vector<Tensor> parts = split(c_attn(hidden), width, 2);
    Tensor query = std::move(parts[0]);
    Tensor key = std::move(parts[1]);
    Tensor value = std::move(parts[2]);
    const Dims heads = {hidden.size(0), hidden.size(1), -1, head_dim};
    key = transpose(view(std::move(key), heads), 1, 2);
    value = transpose(view(std::move(value), heads), 1, 2);
    query = transpose(view(std::move(query), heads), 1, 2);
    if (context.cache != nullptr) context.cache->update(key, value);
    Attended out = context.attention == Attention::kSdpa ? attend(query, key, value, context)
                                                         : attend_eager(query, key, value, context);
    out.output = contiguous(reshape(out.output, {hidden.size(0), hidden.size(1), -1}));
    out.output = c_proj(out.output);
    out.output = dropped_out(&dropout_tag, out.output, residual_dropout);
    return out;
  }
};

struct Mlp {
  Conv1d c_fc, c_proj;
  double residual_dropout;
  ModuleTag tag, activation_tag, dropout_tag;

  Mlp(ParameterMaker& m, const Gpt2Config& c)
      : c_fc(m, "mlp.c_fc", c.hidden_size, c.inner_size),
        c_proj(m, "mlp.c_proj", c.inner_size, c.hidden_size),
        residual_dropout(c.residual_dropout) {}

  Tensor operator()(const Tensor& in) const {
    return call_module(&tag, {}, in, [this](const Tensor& x) {
      Tensor hidden = c_fc(x);
      hidden =
          call_module(&activation_tag, {}, hidden, [](const Tensor& y) { return activate(Activation::kGeluNew, y); });
      hidden = c_proj(hidden);
      hidden = dropped_out(&dropout_tag, hidden, residual_dropout);
      return hidden;
    });
  }
};

struct Block1d {
  LayerNorm ln_1;
  Attention1d attn;
  LayerNorm ln_2;
  Mlp mlp;

  Block1d(ParameterMaker& m, const Gpt2Config& c)
      : ln_1(m, "ln_1", c.hidden_size), attn(m, c), ln_2(m, "ln_2", c.hidden_size), mlp(m, c) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = ln_1(x);
    auto [attended, weights] = attn(hidden, context);
    hidden = attended + residual;
    residual = hidden;
    hidden = ln_2(hidden);
    const Tensor fed = mlp(hidden);
    hidden = residual + fed;
    return hidden;
  }
};

class Gpt2 final : public DecoderLm {
 public:
  Gpt2(Tape& tape, const Gpt2Config& config, DType type, const ForwardOptions& options)
      : DecoderLm(tape, type, options),
        config_(config),
        wte_(maker_, "wte", config.vocab_size, config.hidden_size),
        wpe_(maker_, "wpe", config.max_positions, config.hidden_size) {
    blocks_.reserve(static_cast<std::size_t>(config.layers));
    for (int i = 0; i < config.layers; ++i) {
      maker_.set_layer(i);
      blocks_.emplace_back(maker_, config);
    }
    maker_.set_layer(-1);
    norm_ = LayerNorm(maker_, "ln_f", config.hidden_size);
    make_head({.embeddings = wte_.weight,
               .is_tied = config.ties_embeddings,
               .width = config.hidden_size,
               .vocab_size = config.vocab_size});
  }

  std::vector<int> layer_kinds() const override { return std::vector<int>(blocks_.size()); }

 private:
  Tensor hidden_states(const Tensor& ids, KeyValueCache& cache) override {
    Tape& tape = ids.tape();
    const bool uses_cache = options_.has_cache();
    const Tensor input_ids = view(ids, {-1, ids.size(1)});
    const Tensor embedded = wte_(input_ids);
    if (options_.marks_embeddings()) embedded->requires_grad = true;
    Tensor positions = arange(tape, ids.size(1));
    positions = unsqueeze(positions + 0, 0);
    const Tensor position_embeddings = wpe_(positions);
    Tensor hidden = embedded + position_embeddings;
    const Tensor mask = causal_mask({.embeddings = embedded,
                                     .positions = positions,
                                     .attention = options_.attention,
                                     .has_cache = uses_cache,
                                     .window = {}});
    hidden = dropped_out(&dropout_tag_, hidden, config_.embedding_dropout);
    LayerContext context;
    context.cache = uses_cache ? &cache : nullptr;
    context.attention = options_.attention;
    context.dropout = config_.attention_dropout;
    context.mask = mask;
    context.positions = positions;
    int number = 0;
    for (const Block1d& block : blocks_)
      hidden =
          run_layer(options_, number++, hidden, [&block, context](const Tensor& in) { return block(in, context); });
    hidden = norm_(hidden);
    hidden = view(hidden, {-1, ids.size(1), hidden.size(-1)});
    return hidden;
  }

  Gpt2Config config_;
  Embedding wte_;
  Embedding wpe_;
  std::vector<Block1d> blocks_;
  LayerNorm norm_;
  ModuleTag dropout_tag_;
};

}  // namespace

std::unique_ptr<CausalLm> gpt2(tape::Tape& tape, const Gpt2Config& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Gpt2>(tape, config, type, options);
}

}  // namespace vramwise
