// ResNetForImageClassification, line by line: a stem, four stages of residual layers, the mean of all pixels.

#include "models/vision/resnet.h"

#include <numeric>
#include <optional>
#include <utility>

#include "models/parts/classification.h"
#include "tape/ops/convolution.h"
#include "tape/ops/norm.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/pool.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // the model reads as in PyTorch

// torch.nn.BatchNorm2d in training.
struct BatchNorm {
  Tensor weight, bias, running_mean, running_var, batches_tracked;

  BatchNorm(ParameterMaker& m, std::int64_t width)
      : weight(m.parameter("normalization.weight", {width})),
        bias(m.parameter("normalization.bias", {width})),
        running_mean(m.buffer({width}, m.type())),
        running_var(m.buffer({width}, m.type())),
        batches_tracked(m.buffer({}, DType::kInt64)) {}

  Tensor operator()(const Tensor& x) const { return batch_norm(x, weight, bias); }
};

struct ConvolutionShape {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
};

// A convolution and its norm, and an activation where there is one.
struct ConvLayer {
  Tensor weight;
  BatchNorm norm;
  ConvolutionOptions options;
  std::optional<Activation> activation;

  ConvLayer(ParameterMaker& m, const ConvolutionShape& shape, std::optional<Activation> activation)
      : weight(m.parameter("convolution.weight", {shape.out, shape.in, shape.kernel, shape.kernel})),
        norm(m, shape.out),
        options{.stride = shape.stride, .padding = shape.kernel / 2},
        activation(activation) {}

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = conv2d(x, weight, {}, options);
    hidden = norm(hidden);
    if (activation) hidden = activate(*activation, hidden);
    return hidden;
  }
};

struct ResidualLayer {
  std::optional<ConvLayer> shortcut;
  std::vector<ConvLayer> layers;
  Activation activation;

  ResidualLayer(ParameterMaker& m, const ResnetConfig& c, std::int64_t in, std::int64_t out, std::int64_t stride)
      : activation(c.activation) {
    if (in != out || stride != 1)
      shortcut.emplace(m, ConvolutionShape{.in = in, .out = out, .kernel = 1, .stride = stride}, std::nullopt);
    if (!c.has_bottlenecks) {
      layers.emplace_back(m, ConvolutionShape{.in = in, .out = out, .stride = stride}, Activation::kRelu);
      layers.emplace_back(m, ConvolutionShape{.in = out, .out = out}, std::nullopt);
      return;
    }
    const std::int64_t inner = out / 4;
    const bool early = c.downsamples_in_bottleneck;
    layers.emplace_back(m, ConvolutionShape{.in = in, .out = inner, .kernel = 1, .stride = early ? stride : 1},
                        Activation::kRelu);
    layers.emplace_back(m, ConvolutionShape{.in = inner, .out = inner, .stride = early ? 1 : stride},
                        Activation::kRelu);
    layers.emplace_back(m, ConvolutionShape{.in = inner, .out = out, .kernel = 1}, std::nullopt);
  }

  Tensor operator()(const Tensor& x) const {
    Tensor residual = x;
    Tensor hidden = x;
    for (const ConvLayer& layer : layers) hidden = layer(hidden);
    if (shortcut) residual = (*shortcut)(residual);
    add_(hidden, residual);
    hidden = activate(activation, hidden);
    return hidden;
  }
};

class Resnet final : public Model {
 public:
  Resnet(Tape& tape, const ResnetConfig& config, DType type, const ForwardOptions& options)
      : options_(options),
        maker_(tape, type, options.lora),
        config_(config),
        stem_(maker_, {.in = config.channels, .out = config.embedding_size, .kernel = 7, .stride = 2},
              config.activation) {
    std::int64_t in = config.embedding_size;
    for (std::size_t stage = 0; stage < config.depths.size(); ++stage) {
      const std::int64_t out = config.hidden_sizes[stage];
      for (std::int64_t i = 0; i < config.depths[stage]; ++i) {
        maker_.set_layer(static_cast<int>(layers_.size()));
        const bool halves = i == 0 && (stage > 0 || config.downsamples_first_stage);
        layers_.emplace_back(maker_, config, in, out, halves ? 2 : 1);
        in = out;
      }
    }
    maker_.set_layer(-1);
    classifier_ = Linear(maker_, "classifier", in, config.labels, true);
    parameters_ = maker_.tensors();
  }

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

  /// Of the weights' type: the model casts nothing.
  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    return {{"pixel_values", {size.samples, config_.channels, size.image_size, size.image_size}, maker_.type()},
            {"labels", {size.samples}, DType::kInt64}};
  }

  Tensor loss(const Batch& batch) override {
    const Tensor hidden = features(batch[0]);
    const Tensor pooled = average_pool_to_pixel(hidden);
    if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
    const Tensor logits = classifier_(flatten(pooled, 1));
    return classification_loss(logits, batch[1]);
  }

 private:
  Tensor embedded(const Tensor& pixels) const {
    const Tensor embedding = stem_(pixels);
    return max_pool2d(embedding, {.kernel = 3, .stride = 2, .padding = 1});
  }

  Tensor features(const Tensor& pixels) const {
    const Tensor embedding = embedded(pixels);
    Tensor hidden = embedding;
    for (const ResidualLayer& layer : layers_) hidden = layer(hidden);
    return hidden;
  }

  ForwardOptions options_;
  ParameterMaker maker_;
  ResnetConfig config_;
  ConvLayer stem_;
  std::vector<ResidualLayer> layers_;
  Linear classifier_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> resnet(tape::Tape& tape, const ResnetConfig& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Resnet>(tape, config, type, options);
}

}  // namespace vramwise
