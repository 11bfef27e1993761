// torchtune 0.6.1: modules/transformer.py (TransformerDecoder), the builders of models/*/_component_builders.py,
// modules/loss/ce_chunked_output_loss.py, and _loss_step() of recipes/full_finetune_single_device.py.

#include "models/torchtune/decoder.h"

#include <memory>
#include <utility>
#include <vector>

#include "models/parts/layers.h"
#include "models/torchtune/parts.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

namespace {

constexpr int kChunks = 8;  // num_output_chunks by default

class TuneDecoder final : public Model {
 public:
  TuneDecoder(Tape& tape, const TuneDecoderConfig& config, DType type, const ForwardOptions& options)
      : config_(config), options_(options), maker_(tape, type), rotary_(maker_, config_) {
    layers_.reserve(static_cast<std::size_t>(config_.layers));
    for (int i = 0; i < config_.layers; ++i) {
      maker_.set_layer(i);
      layers_.emplace_back(maker_, config_, rotary_);
    }
    maker_.set_layer(-1);
    // Made in this order, and listed as TransformerDecoder registers them.
    const Dims table = {config_.vocab_size, config_.width};
    embeddings_.weight = maker_.parameter_listed_at(0, "tok_embeddings", table);
    embeddings_.rows = config_.vocab_size;
    const std::size_t before_output = maker_.count();
    output_ = config_.ties_embeddings ? embeddings_.weight : maker_.parameter("output", table);
    norm_.scale = maker_.parameter_listed_at(before_output, "norm", {config_.width});
    maker_.finish();
    parameters_ = maker_.tensors();
  }

  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    const Dims sizes = {size.samples, size.tokens};
    return {{"tokens", sizes, DType::kInt64}, {"labels", sizes, DType::kInt64}};
  }
  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }
  std::vector<int> layer_kinds() const override { return std::vector<int>(layers_.size(), 0); }

  Tensor loss(const Batch& batch) override {
    Batch taken = batch;
    return loss_of_taken(taken);
  }

  // _loss_step(): the labels are taken out of the batch, and shifted by a column that says "ignore".
  Tensor loss_of_taken(Batch& batch) override {
    Tensor labels = std::move(batch[1]);
    batch[1] = {};
    const auto make = [&] {
      std::vector<Tensor> logits = forward(batch[0]);
      const Tensor ignored = batch.size() > 2 ? batch[2] : full(labels.tape(), {labels.size(0), 1}, DType::kInt64);
      labels = cat({slice(labels, 1, 1, labels.size(1)), ignored}, 1);
      if (options_.loss == LossKind::kChunked) return chunked_loss(logits, labels);
      labels = reshape(labels, {-1});
      logits[0] = reshape(logits[0], {-1, config_.vocab_size});
      return cross_entropy(logits[0], labels);
    };
    return make();
  }

 private:
  // Chunks of the logits, or all of them in float32.
  std::vector<Tensor> forward(const Tensor& tokens) const {
    Tensor h = embeddings_(tokens);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      h = run_layer(options_, static_cast<int>(i), h, [this, i](const Tensor& in) { return layers_[i](in); });
    const Tensor normalized = norm_(h);
    if (options_.loss_mark) h.tape().mark(*options_.loss_mark);
    if (options_.loss != LossKind::kChunked) return {to(linear(normalized, output_), DType::kFloat32)};
    std::vector<Tensor> logits;
    for (const Tensor& part : chunk(normalized, kChunks, 1)) logits.push_back(linear(part, output_));
    return logits;
  }

  // CEWithChunkedOutputLoss.forward
  Tensor chunked_loss(const std::vector<Tensor>& logits, const Tensor& labels) const {
    const Tensor counted = count_true(compare(labels, -100));
    std::vector<Tensor> targets;
    for (const Tensor& part : chunk(labels, kChunks, 1)) targets.push_back(reshape(part, {-1}));
    Tensor total;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const Tensor rows = reshape(logits[i], {-1, config_.vocab_size});
      const Tensor loss = cross_entropy(to(rows, DType::kFloat32), targets[i], LossReduction::kSum);
      if (total.defined())
        add_(total, loss);
      else
        total = loss + 0.0;
    }
    return total / counted;
  }

  TuneDecoderConfig config_;
  ForwardOptions options_;
  ParameterMaker maker_;
  TuneRotary rotary_;
  std::vector<TuneLayer> layers_;
  Embedding embeddings_;
  Tensor output_;
  TuneRmsNorm norm_;
  std::vector<Tensor> parameters_;
};

}  // namespace

Architecture tune_architecture(const TuneDecoderConfig& config) {
  return {.layers = config.layers,
          .max_positions = config.max_positions,
          .has_eager = false,
          .takes_lora = false,
          .takes_chunked_loss = true,
          .takes_fp16_weights = false,
          .takes_layers_to_checkpoint = false,
          .takes_sharding = false,
          .make = [config](Tape& tape, DType type, const ForwardOptions& options) -> std::unique_ptr<Model> {
            return std::make_unique<TuneDecoder>(tape, config, type, options);
          }};
}

}  // namespace vramwise
