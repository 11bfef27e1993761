// T5ForConditionalGeneration, line by line: a stack that reads, a stack that writes and looks at what was read.
// Positions are biases on the scores of attention, made by the first layer of a stack and handed on to the others. What
// its blocks do in float16 (they cut off infinities) is not here.

#include "models/encoder_decoders/t5.h"

#include <optional>
#include <utility>
#include <vector>

#include "models/parts/attention.h"
#include "models/parts/masks.h"
#include "tape/ops/attention.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"
#include "tape/transforms/checkpoint.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

struct Norm {
  Tensor weight;

  Norm() = default;
  Norm(ParameterMaker& m, const char* name, std::int64_t width) : weight(m.parameter(name, {width})) {}

  Tensor operator()(const Tensor& x) const {
    const Tensor variance = mean(pow(to(x, DType::kFloat32), 2), {-1}, true);
    Tensor hidden = x * rsqrt(variance + 1e-6);
    if (is_half(weight.type())) hidden = to(hidden, weight.type());
    return weight * hidden;
  }
};

// T5DenseActDense or T5DenseGatedActDense.
struct Dense {
  Linear wi, gate, wo;
  Activation activation;
  bool is_gated;
  double dropout;

  Dense(ParameterMaker& m, const T5Config& c)
      : wi(m, c.is_gated ? "DenseReluDense.wi_0" : "DenseReluDense.wi", c.width, c.inner_size, false),
        activation(c.activation),
        is_gated(c.is_gated),
        dropout(c.dropout) {
    if (is_gated) gate = Linear(m, "DenseReluDense.wi_1", c.width, c.inner_size, false);
    wo = Linear(m, "DenseReluDense.wo", c.inner_size, c.width, false);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor activated;
    Tensor linear;
    Tensor hidden;
    if (is_gated) {
      activated = activate(activation, wi(x));
      linear = gate(x);
      hidden = activated * linear;
    } else {
      hidden = wi(x);
      hidden = activate(activation, hidden);
    }
    hidden = tape::dropout(hidden, dropout);
    hidden = to(hidden, wo.weight.type());
    hidden = wo(hidden);
    return hidden;
  }
};

struct FeedForward {
  Dense dense;
  Norm norm;
  double dropout;

  FeedForward(ParameterMaker& m, const T5Config& c) : dense(m, c), norm(m, "layer_norm", c.width), dropout(c.dropout) {}

  Tensor operator()(const Tensor& x) const {
    Tensor forwarded = norm(x);
    forwarded = dense(forwarded);
    return x + tape::dropout(forwarded, dropout);
  }
};

// T5Attention._relative_position_bucket
Tensor distance_buckets(const Tensor& distance, bool both_ways) {
  Tensor buckets;
  Tensor far;
  if (both_ways) {
    buckets = to(compare(distance, 0), DType::kInt64) * 16;
    buckets = buckets + 0;
    far = tape::abs(distance);
  } else {
    far = -minimum(distance, zeros_like(distance));
  }
  const Tensor is_small = compare(far, 8);
  Tensor large = to(tape::log(to(far, DType::kFloat32) / 8.0) / 2.0 * 8, DType::kInt64) + 8;
  large = minimum(large, zeros_like(large));
  const Tensor chosen = where(is_small, far, large);
  if (!both_ways) return chosen + 0;
  add_(buckets, chosen);
  return buckets;
}

// How a block attends: what is the same for all of them, and what it makes for the blocks after it.
struct Surroundings {
  Attention attention = Attention::kSdpa;
  Tensor mask;                    ///< eager attention's, of a stack that writes
  KeyValueCache* own = nullptr;   ///< of the text that is written
  KeyValueCache* read = nullptr;  ///< of the text that was read
  Checkpointing checkpointing{};  ///< of both stacks, counted through
  bool marks_embeddings = false;
  LayerHooks* hooks = nullptr;
};

struct AttentionLayer {
  Linear q, k, v, o;
  std::optional<Embedding> bias;
  Norm norm;
  std::int64_t heads, head_dim;
  double dropout;
  bool is_causal;

  AttentionLayer(ParameterMaker& m, const T5Config& c, bool has_bias, bool causal, bool crosses)
      : q(m, crosses ? "EncDecAttention.q" : "SelfAttention.q", c.width, c.heads * c.head_dim, false),
        k(m, crosses ? "EncDecAttention.k" : "SelfAttention.k", c.width, c.heads * c.head_dim, false),
        v(m, crosses ? "EncDecAttention.v" : "SelfAttention.v", c.width, c.heads * c.head_dim, false),
        o(m, crosses ? "EncDecAttention.o" : "SelfAttention.o", c.heads * c.head_dim, c.width, false),
        heads(c.heads),
        head_dim(c.head_dim),
        dropout(c.dropout),
        is_causal(causal) {
    if (has_bias) bias.emplace(m, "SelfAttention.relative_attention_bias", c.buckets, c.heads);
    norm = Norm(m, "layer_norm", c.width);
  }

  Tensor heads_of(const Tensor& x) const { return transpose(view(x, {x.size(0), x.size(1), -1, head_dim}), 1, 2); }

  Tensor made_bias(const Tensor& query, std::int64_t keys, bool checkpoints) const {
    Tape& tape = query.tape();
    const std::int64_t length = query.size(2);
    if (!bias) {
      Tensor zeros = tape.empty({1, heads, length, keys}, query.type());
      if (checkpoints) zeros->requires_grad = true;
      return zeros;
    }
    const Tensor from = unsqueeze(arange(tape, length), 1) + 0;
    const Tensor to = unsqueeze(arange(tape, keys), 0);
    const Tensor distance = to - from;
    const Tensor buckets = distance_buckets(distance, !is_causal);
    return unsqueeze(permute((*bias)(buckets), {2, 0, 1}), 0);
  }

  // create_position_bias_mask
  Tensor mask_of(const Tensor& position_bias, std::int64_t length, std::int64_t keys) const {
    if (!is_causal || length == 1) return contiguous(position_bias);
    Tape& tape = position_bias.tape();
    Tensor allowed;
    {
      const Tensor rows = unsqueeze(arange(tape, length), 1);
      allowed = compare(rows, unsqueeze(arange(tape, keys), 0));
    }
    allowed = view(allowed, {1, 1, length, keys});
    const Tensor chosen = where(allowed, position_bias, -1.0);
    return contiguous(chosen);
  }

  Attended attend_sdpa(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& position_bias) const {
    const Tensor mask = mask_of(position_bias, query.size(2), key.size(2));
    Tensor out = scaled_dot_product_attention(query, key, value, mask, {.dropout = dropout});
    out = contiguous(transpose(out, 1, 2));
    return {std::move(out), {}};
  }

  Attended attend_eager(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& position_bias,
                        const Tensor& mask) const {
    Tensor weights = matmul(query, transpose(key, 2, 3)) * 1.0;
    weights = weights + position_bias;
    if (mask.defined()) weights = weights + mask;
    weights = softmax(weights, -1);
    weights = tape::dropout(weights, dropout);
    Tensor out = matmul(weights, value);
    out = contiguous(transpose(out, 1, 2));
    return {std::move(out), std::move(weights)};
  }

  // T5Attention. `position_bias` is made where it is undefined. `other`: what was read; undefined for the layer's own.
  Attended attended(const Tensor& hidden, const Tensor& other, Tensor& position_bias, const Surroundings& s) const {
    const Tensor query = heads_of(q(hidden));
    const Tensor& source = other.defined() ? other : hidden;
    Tensor key = heads_of(k(source));
    Tensor value = heads_of(v(source));
    KeyValueCache* cache = other.defined() ? s.read : s.own;
    if (cache != nullptr) cache->update(key, value);
    if (!position_bias.defined()) position_bias = made_bias(query, key.size(2), s.checkpointing.is_on());
    Attended out = s.attention == Attention::kSdpa
                       ? attend_sdpa(query, key, value, position_bias)
                       : attend_eager(query, key, value, position_bias, is_causal ? s.mask : Tensor());
    out.output = contiguous(reshape(out.output, {hidden.size(0), hidden.size(1), -1}));
    out.output = o(out.output);
    return out;
  }

  Attended operator()(const Tensor& x, const Tensor& other, Tensor& position_bias, const Surroundings& s) const {
    const Tensor normed = norm(x);
    Attended out = attended(normed, other, position_bias, s);
    out.output = x + tape::dropout(out.output, dropout);
    return out;
  }
};

struct Block {
  AttentionLayer self;
  std::optional<AttentionLayer> cross;
  FeedForward feed_forward;

  Block(ParameterMaker& m, const T5Config& c, bool is_first, bool writes)
      : self(m, c, is_first, writes, false), cross(made_cross(m, c, writes)), feed_forward(m, c) {}

  static std::optional<AttentionLayer> made_cross(ParameterMaker& m, const T5Config& c, bool writes) {
    if (!writes) return std::nullopt;
    return AttentionLayer(m, c, false, false, true);
  }

  // in: hidden states, bias, what was read, bias for that. Out: hidden states, the two biases.
  std::vector<Tensor> operator()(const std::vector<Tensor>& in, const Surroundings& s) const {
    Tensor bias = in[1];
    Tensor cross_bias = in[3];
    Attended kept = self(in[0], {}, bias, s);
    Tensor hidden = std::move(kept.output);
    if (cross) {
      Attended crossed = (*cross)(hidden, in[2], cross_bias, s);
      hidden = std::move(crossed.output);
      kept.weights = std::move(crossed.weights);
    }
    hidden = feed_forward(hidden);
    return {hidden, bias, cross_bias};
  }
};

struct Stack {
  std::vector<Block> blocks;
  Norm norm;
  double dropout;
  bool writes;
  int first_layer;  ///< counted through both stacks

  Stack(ParameterMaker& m, const T5Config& c, bool is_decoder)
      : dropout(c.dropout), writes(is_decoder), first_layer(is_decoder ? c.encoder_layers : 0) {
    const int layers = is_decoder ? c.decoder_layers : c.encoder_layers;
    blocks.reserve(static_cast<std::size_t>(layers));
    for (int i = 0; i < layers; ++i) {
      m.set_layer(first_layer + i);
      blocks.emplace_back(m, c, i == 0, is_decoder);
    }
    m.set_layer(-1);
    norm = Norm(m, "final_layer_norm", c.width);
  }

  static std::vector<Tensor> run(const Block& block, int number, std::vector<Tensor> in, const Surroundings& s) {
    if (s.hooks != nullptr) in = s.hooks->before_layer(number, std::move(in));
    std::vector<Tensor> out = run_plain(block, number, std::move(in), s);
    if (s.hooks != nullptr) s.hooks->after_layer(number, out[0]);
    return out;
  }

  static std::vector<Tensor> run_plain(const Block& block, int number, std::vector<Tensor> in, const Surroundings& s) {
    if (!s.checkpointing.covers(number)) return block(in, s);
    const auto again = [&block, s](const std::vector<Tensor>& inputs) { return block(inputs, s); };
    Tape& tape = in[0].tape();
    return checkpoint_all(tape, again, std::move(in), s.checkpointing.is_selective);
  }

  Tensor operator()(const Tensor& ids, const Tensor& table, const Tensor& read, Surroundings s) const {
    const Tensor embedded = embedding(table, ids);
    if (s.marks_embeddings) embedded->requires_grad = true;
    if (writes)
      s.mask = causal_mask({.embeddings = embedded,
                            .positions = {},
                            .attention = s.attention,
                            .has_cache = s.own != nullptr,
                            .window = {}});
    Tensor bias;
    Tensor cross_bias;
    Tensor hidden = tape::dropout(embedded, dropout);
    int number = first_layer;
    for (const Block& block : blocks) {
      std::vector<Tensor> out = run(block, number++, {hidden, bias, read, cross_bias}, s);
      hidden = std::move(out[0]);
      bias = std::move(out[1]);
      cross_bias = std::move(out[2]);
    }
    hidden = norm(hidden);
    hidden = tape::dropout(hidden, dropout);
    return hidden;
  }
};

// _shift_right: the text to be written, behind a first token that begins it.
Tensor shifted_right(const Tensor& labels) {
  Tensor shifted = zeros_like(labels);
  if (labels.size(1) > 1) contiguous_clone(slice(labels, 1, 0, labels.size(1) - 1));
  compare(shifted, -100);
  return shifted;
}

class T5 final : public Model {
 public:
  T5(Tape& tape, const T5Config& config, DType type, const ForwardOptions& options)
      : options_(options),
        maker_(tape, type, options.lora, options.stored),
        config_(config),
        shared_(maker_, "shared", config.vocab_size, config.width),
        encoder_(maker_, config, false),
        decoder_(maker_, config, true) {
    maker_.finish();
    parameters_ = maker_.tensors();
  }

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    return {{"input_ids", {size.samples, size.tokens}, DType::kInt64},
            {"labels", {size.samples, size.target_tokens}, DType::kInt64}};
  }

  Tensor loss(const Batch& batch) override {
    KeyValueCache own;
    KeyValueCache of_source;
    const bool uses_cache = options_.uses_cache && !options_.checkpoints();
    Surroundings s{.attention = options_.attention,
                   .mask = {},
                   .checkpointing = options_.checkpointing,
                   .marks_embeddings = options_.marks_embeddings(),
                   .hooks = options_.hooks};
    const Tensor read = encoder_(batch[0], shared_.weight, {}, s);
    const Tensor written = shifted_right(batch[1]);
    s.own = uses_cache ? &own : nullptr;
    s.read = uses_cache ? &of_source : nullptr;
    const Tensor hidden = decoder_(written, shared_.weight, read, s);
    if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
    const Tensor scaled = config_.scales_output ? hidden * 0.5 : hidden;
    const Tensor logits = linear(scaled, shared_.weight);
    return cross_entropy(view(logits, {-1, logits.size(-1)}), view(batch[1], {-1}));
  }

 private:
  ForwardOptions options_;
  ParameterMaker maker_;
  T5Config config_;
  Embedding shared_;
  Stack encoder_;
  Stack decoder_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> t5(tape::Tape& tape, const T5Config& config, DType type, const ForwardOptions& options) {
  return std::make_unique<T5>(tape, config, type, options);
}

}  // namespace vramwise
