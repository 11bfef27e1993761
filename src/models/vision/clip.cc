// CLIPModel, line by line: an encoder of texts and one of images, whose projections are compared with one another.

#include "models/vision/clip.h"

#include <optional>
#include <utility>
#include <vector>

#include "models/parts/full_attention.h"
#include "models/parts/layers.h"
#include "models/parts/masks.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

struct SelfAttention {
  Linear key, value, query, out;
  std::int64_t head_dim;
  FullAttention attention;

  SelfAttention(ParameterMaker& m, const ClipTower& c, Attention kind)
      : key(m, "self_attn.k_proj", c.hidden_size, c.hidden_size, true),
        value(m, "self_attn.v_proj", c.hidden_size, c.hidden_size, true),
        query(m, "self_attn.q_proj", c.hidden_size, c.hidden_size, true),
        out(m, "self_attn.out_proj", c.hidden_size, c.hidden_size, true),
        head_dim(c.hidden_size / c.heads),
        attention{.kind = kind, .dropout = c.attention_dropout, .widens_scores = true} {}

  Attended operator()(const Tensor& hidden, const LayerContext* causal) const {
    // All three first: the backward pass goes by the order in which they were computed.
    Tensor queries = query(hidden);
    Tensor keys = key(hidden);
    Tensor values = value(hidden);
    queries = as_heads(queries, head_dim);
    keys = as_heads(keys, head_dim);
    values = as_heads(values, head_dim);
    Attended attended =
        causal != nullptr ? attend(queries, keys, values, *causal) : attend_to_all(queries, keys, values, attention);
    attended.output = contiguous(reshape(attended.output, {hidden.size(0), hidden.size(1), -1}));
    attended.output = out(attended.output);
    return attended;
  }
};

struct Layer {
  SelfAttention attention;
  LayerNorm norm1;
  Linear fc1, fc2;
  LayerNorm norm2;
  Activation activation;

  Layer(ParameterMaker& m, const ClipTower& c, Attention kind)
      : attention(m, c, kind),
        norm1(m, "layer_norm1", c.hidden_size),
        fc1(m, "mlp.fc1", c.hidden_size, c.intermediate_size, true),
        fc2(m, "mlp.fc2", c.intermediate_size, c.hidden_size, true),
        norm2(m, "layer_norm2", c.hidden_size),
        activation(c.activation) {}

  Tensor fed_forward(const Tensor& x) const {
    Tensor hidden = fc1(x);
    hidden = activate(activation, hidden);
    return fc2(hidden);
  }

  Tensor operator()(const Tensor& x, const LayerContext* causal) const {
    Tensor residual = x;
    Tensor hidden = norm1(x);
    auto [attended, weights] = attention(hidden, causal);
    hidden = std::move(attended);
    hidden = residual + hidden;
    residual = hidden;
    hidden = norm2(hidden);
    hidden = fed_forward(hidden);
    hidden = residual + hidden;
    return hidden;
  }
};

class Encoder {
 public:
  /// `first`: the number of its first layer among those of the model.
  Encoder(ParameterMaker& m, const ClipTower& c, const ForwardOptions& options, int first)
      : options_(options), first_(first) {
    layers_.reserve(static_cast<std::size_t>(c.layers));
    for (int i = 0; i < c.layers; ++i) {
      m.set_layer(first_ + i);
      layers_.emplace_back(m, c, options.attention);
    }
    m.set_layer(-1);
  }

  /// `causal` is absent for images.
  Tensor operator()(const Tensor& embedded, const LayerContext* causal) const {
    std::optional<LayerContext> context;
    if (causal != nullptr) context = *causal;
    Tensor hidden = embedded;
    int number = first_;
    for (const Layer& layer : layers_)
      hidden = run_layer(options_, number++, hidden,
                         [&layer, context](const Tensor& in) { return layer(in, context ? &*context : nullptr); });
    return hidden;
  }

 private:
  ForwardOptions options_;
  int first_;
  std::vector<Layer> layers_;
};

/// BaseModelOutputWithPooling.
struct Encoded {
  Tensor last, pooled;
};

struct TextModel {
  Embedding tokens, positions;
  Tensor position_ids;
  Encoder encoder;
  LayerNorm norm;
  Attention kind;
  double dropout;
  bool takes_largest_id;

  TextModel(ParameterMaker& m, const ClipConfig& c, const ForwardOptions& options)
      : tokens(m, "text_model.embeddings.token_embedding", c.vocab_size, c.text.hidden_size),
        positions(m, "text_model.embeddings.position_embedding", c.max_positions, c.text.hidden_size),
        position_ids(m.buffer({1, c.max_positions}, DType::kInt64)),
        encoder(m, c.text, options, 0),
        norm(m, "text_model.final_layer_norm", c.text.hidden_size),
        kind(options.attention),
        dropout(c.text.attention_dropout),
        takes_largest_id(c.takes_largest_id) {}

  Tensor embedded(const Tensor& ids) const {
    const Tensor words = tokens(ids);
    const Tensor places = positions(slice(position_ids, 1, 0, ids.size(1)));
    return words + places;
  }

  // Where each text ends: an index a text.
  Tensor ends(const Tensor& ids) const {
    Tensor numbers = to(ids, DType::kInt32);
    if (takes_largest_id) return argmax(std::move(numbers), -1);
    return argmax(to(compare(std::move(numbers), 2), DType::kInt32), -1);
  }

  Encoded operator()(const Tensor& ids) const {
    const Tensor hidden = embedded(ids);
    LayerContext context;
    context.attention = kind;
    context.dropout = dropout;
    context.mask =
        causal_mask({.embeddings = hidden, .positions = {}, .attention = kind, .has_cache = true, .window = {}});
    Tensor last = encoder(hidden, &context);
    last = norm(last);
    const Tensor rows = arange(ids.tape(), ids.size(0));
    Tensor pooled = index_pairs(last, rows, ends(ids));
    return {std::move(last), std::move(pooled)};
  }
};

struct VisionModel {
  Patches patches;
  Embedding positions;
  Tensor class_embedding, position_ids;
  LayerNorm pre_norm;
  Encoder encoder;
  LayerNorm post_norm;

  VisionModel(ParameterMaker& m, const ClipConfig& c, const ForwardOptions& options)
      : VisionModel(m, c, options, m.count()) {}
  VisionModel(ParameterMaker& m, const ClipConfig& c, const ForwardOptions& options, std::size_t begin)
      : patches(m, "vision_model.embeddings.patch_embedding", c.patches, c.vision.hidden_size, false),
        positions(m, "vision_model.embeddings.position_embedding", c.patches.patches() + 1, c.vision.hidden_size),
        class_embedding(
            m.parameter_listed_at(begin, "vision_model.embeddings.class_embedding", {c.vision.hidden_size})),
        position_ids(m.buffer({1, c.patches.patches() + 1}, DType::kInt64)),
        pre_norm(m, "vision_model.pre_layrnorm", c.vision.hidden_size),
        encoder(m, c.vision, options, c.text.layers),
        post_norm(m, "vision_model.post_layernorm", c.vision.hidden_size) {}

  Tensor embedded(const Tensor& pixels) const {
    const Tensor of_patches = patches(to(pixels, patches.weight.type()));
    const Tensor classes = expand(class_embedding, {pixels.size(0), 1, -1});
    Tensor embeddings = cat({classes, of_patches}, 1);
    embeddings = embeddings + positions(position_ids);
    return embeddings;
  }

  Encoded operator()(const Tensor& pixels) const {
    Tensor hidden = embedded(pixels);
    hidden = pre_norm(hidden);
    Tensor last = encoder(hidden, nullptr);
    Tensor pooled = post_norm(select(last, 1, 0));
    return {std::move(last), std::move(pooled)};
  }
};

Tensor vector_norm(const Tensor& x) {
  const Tensor squares = tape::pow(x, 2);
  const Tensor total = sum(squares, {-1}, true);
  return tape::pow(total, 0.5);
}

Tensor contrastive_loss(const Tensor& logits) { return cross_entropy(logits, arange(logits.tape(), logits.size(0))); }

class Clip final : public Model {
 public:
  Clip(Tape& tape, const ClipConfig& config, DType type, const ForwardOptions& options)
      : options_(options),
        maker_(tape, type, options.lora),
        config_(config),
        text_(maker_, config, options),
        vision_(maker_, config, options),
        visual_projection_(maker_, "visual_projection", config.vision.hidden_size, config.projection_size, false),
        text_projection_(maker_, "text_projection", config.text.hidden_size, config.projection_size, false),
        logit_scale_(maker_.parameter_listed_at(0, "logit_scale", {})),
        parameters_(maker_.tensors()) {}

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    return {
        {"input_ids", {size.samples, size.tokens}, DType::kInt64},
        {"pixel_values", {size.samples, config_.patches.channels, size.image_size, size.image_size}, DType::kFloat32}};
  }

  Tensor loss(const Batch& batch) override {
    // The model's outputs keep what the towers made.
    Encoded vision = vision_(batch[1]);
    vision.pooled = visual_projection_(vision.pooled);
    Encoded text = text_(batch[0]);
    text.pooled = text_projection_(text.pooled);
    Tensor images = vision.pooled;
    Tensor texts = text.pooled;
    if (options_.loss_mark) images.tape().mark(*options_.loss_mark);
    images = images / vector_norm(images);
    texts = texts / vector_norm(texts);
    Tensor logits = matmul(texts, t(images));
    logits = logits * tape::exp(logit_scale_);
    const Tensor captions = contrastive_loss(logits);
    const Tensor of_images = contrastive_loss(t(logits));
    return (captions + of_images) / 2.0;
  }

 private:
  ForwardOptions options_;
  ParameterMaker maker_;
  ClipConfig config_;
  TextModel text_;
  VisionModel vision_;
  Linear visual_projection_, text_projection_;
  Tensor logit_scale_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> clip(tape::Tape& tape, const ClipConfig& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Clip>(tape, config, type, options);
}

}  // namespace vramwise
