// ViTForImageClassification, line by line: patches and a class token, layers with the norms before each half.

#include "models/vision/vit.h"

#include <utility>
#include <vector>

#include "models/parts/classification.h"
#include "models/parts/full_attention.h"
#include "models/parts/layers.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

struct Embeddings {
  Patches patches;
  Tensor class_token, positions;
  double dropout;

  Embeddings(ParameterMaker& m, const VitConfig& c) : dropout(c.hidden_dropout) {
    const std::size_t begin = m.count();
    patches = Patches(m, "embeddings.patch_embeddings.projection", c.patches, c.hidden_size, true);
    class_token = m.parameter_listed_at(begin, "embeddings.cls_token", {1, 1, c.hidden_size});
    positions =
        m.parameter_listed_at(begin + 1, "embeddings.position_embeddings", {1, c.patches.patches() + 1, c.hidden_size});
  }

  Tensor operator()(const Tensor& pixels) const {
    Tensor embeddings = patches(pixels);
    const Tensor class_tokens = expand(class_token, {pixels.size(0), -1, -1});
    embeddings = cat({class_tokens, embeddings}, 1);
    embeddings = embeddings + positions;
    embeddings = tape::dropout(embeddings, dropout);
    return embeddings;
  }
};

struct SelfAttention {
  Linear query, key, value, out;
  std::int64_t head_dim;
  FullAttention attention;

  SelfAttention(ParameterMaker& m, const VitConfig& c, Attention kind)
      : query(m, "attention.q_proj", c.hidden_size, c.hidden_size, c.qkv_bias),
        key(m, "attention.k_proj", c.hidden_size, c.hidden_size, c.qkv_bias),
        value(m, "attention.v_proj", c.hidden_size, c.hidden_size, c.qkv_bias),
        out(m, "attention.o_proj", c.hidden_size, c.hidden_size, true),
        head_dim(c.hidden_size / c.heads),
        attention{.kind = kind, .dropout = c.attention_dropout, .widens_scores = true} {}

  Attended operator()(const Tensor& hidden) const {
    const Tensor queries = as_heads(query(hidden), head_dim);
    const Tensor keys = as_heads(key(hidden), head_dim);
    const Tensor values = as_heads(value(hidden), head_dim);
    Attended attended = attend_to_all(queries, keys, values, attention);
    attended.output = contiguous(reshape(attended.output, {hidden.size(0), hidden.size(1), -1}));
    attended.output = out(attended.output);
    return attended;
  }
};

struct Layer {
  SelfAttention attention;
  LayerNorm before, after;
  Linear fc1, fc2;
  Activation activation;
  double dropout;

  Layer(ParameterMaker& m, const VitConfig& c, Attention kind)
      : attention(m, c, kind),
        before(m, "layernorm_before", c.hidden_size),
        after(m, "layernorm_after", c.hidden_size),
        fc1(m, "mlp.fc1", c.hidden_size, c.intermediate_size, true),
        fc2(m, "mlp.fc2", c.intermediate_size, c.hidden_size, true),
        activation(c.activation),
        dropout(c.hidden_dropout) {}

  Tensor fed_forward(const Tensor& x) const {
    Tensor hidden = fc1(x);
    hidden = activate(activation, hidden);
    return fc2(hidden);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor residual = x;
    Tensor hidden = before(x);
    auto [attended, weights] = attention(hidden);
    hidden = std::move(attended);
    hidden = tape::dropout(hidden, dropout);
    hidden = hidden + residual;
    residual = hidden;
    hidden = after(hidden);
    hidden = fed_forward(hidden);
    hidden = tape::dropout(hidden, dropout);
    hidden = hidden + residual;
    return hidden;
  }
};

class Vit final : public Model {
 public:
  Vit(Tape& tape, const VitConfig& config, DType type, const ForwardOptions& options)
      : options_(options),
        maker_(tape, type, options.lora, options.stored),
        config_(config),
        embeddings_(maker_, config) {
    layers_.reserve(static_cast<std::size_t>(config.layers));
    for (int i = 0; i < config.layers; ++i) {
      maker_.set_layer(i);
      layers_.emplace_back(maker_, config, options.attention);
    }
    maker_.set_layer(-1);
    norm_ = LayerNorm(maker_, "layernorm", config.hidden_size);
    classifier_ = Linear(maker_, "classifier", config.hidden_size, config.labels, true);
    parameters_ = maker_.tensors();
  }

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }
  std::vector<int> layer_kinds() const override { return std::vector<int>(layers_.size()); }

  /// Image processors give float32; the model casts it.
  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    return {
        {"pixel_values", {size.samples, config_.patches.channels, size.image_size, size.image_size}, DType::kFloat32},
        {"labels", {size.samples}, DType::kInt64}};
  }

  Tensor loss(const Batch& batch) override {
    const Tensor hidden = encoded(batch[0]);
    if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
    const Tensor logits = classifier_(select(hidden, 1, 0));
    return classification_loss(logits, batch[1]);
  }

 private:
  Tensor encoded(const Tensor& pixel_values) const {
    const Tensor pixels = to(pixel_values, maker_.type());
    const Tensor embedded = embeddings_(pixels);
    Tensor hidden = embedded;
    int number = 0;
    for (const Layer& layer : layers_)
      hidden = run_layer(options_, number++, hidden, [&layer](const Tensor& in) { return layer(in); });
    return norm_(hidden);
  }

  ForwardOptions options_;
  ParameterMaker maker_;
  VitConfig config_;
  Embeddings embeddings_;
  std::vector<Layer> layers_;
  LayerNorm norm_;
  Linear classifier_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> vit(tape::Tape& tape, const VitConfig& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Vit>(tape, config, type, options);
}

}  // namespace vramwise
