// BertForMaskedLM, BertForSequenceClassification and their RoBERTa twins, line by line: embeddings of three tables,
// layers with the norms after each half, dropout everywhere.

#include "models/encoders/bert.h"

#include <optional>
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
  Embedding word, position, token_type;
  LayerNorm norm;
  Tensor position_ids, token_type_ids;  // buffers, (1, max_positions)
  double dropout;
  bool counts_positions;

  Embeddings(ParameterMaker& m, const BertConfig& c)
      : word(m, "embeddings.word_embeddings", c.vocab_size, c.hidden_size),
        dropout(c.hidden_dropout),
        counts_positions(c.is_roberta) {
    if (!c.is_roberta) make_positions(m, c);
    token_type = Embedding(m, "embeddings.token_type_embeddings", c.token_types, c.hidden_size);
    norm = LayerNorm(m, "embeddings.LayerNorm", c.hidden_size);
    if (c.is_roberta) make_positions(m, c);  // the module's last child there
    position_ids = m.buffer({1, c.max_positions}, DType::kInt64);
    token_type_ids = m.buffer({1, c.max_positions}, DType::kInt64);
  }

  void make_positions(ParameterMaker& m, const BertConfig& c) {
    position = Embedding(m, "embeddings.position_embeddings", c.max_positions, c.hidden_size);
  }

  // RoBERTa's: the n-th token that is no padding is at position n.
  static Tensor counted_positions(const Tensor& ids) {
    const Tensor mask = to(compare(ids, 1), DType::kInt32);
    const Tensor counted = (to(cumsum(mask, 1), DType::kInt32) + 0) * mask;
    return to(counted, DType::kInt64) + 1;
  }

  Tensor operator()(const Tensor& ids) const {
    const std::int64_t length = ids.size(1);
    const Tensor positions = counts_positions ? counted_positions(ids) : slice(position_ids, 1, 0, length);
    const Tensor types = expand(token_type_ids, {positions.size(0), -1});
    const Tensor gathered = gather(types, 1, positions);
    const Tensor of_tokens = expand(gathered, {ids.size(0), length});
    const Tensor words = word(ids);
    const Tensor kinds = token_type(of_tokens);
    Tensor sum = words + kinds;
    const Tensor places = position(positions);
    sum = sum + places;
    sum = norm(sum);
    return tape::dropout(sum, dropout);
  }
};

// BertSelfOutput and BertOutput: a linear layer, then the norm of the sum with what came in.
struct AddAndNorm {
  Linear dense;
  LayerNorm norm;
  double dropout;

  AddAndNorm(ParameterMaker& m, const char* name, std::int64_t in, const BertConfig& c)
      : dense(m, name, in, c.hidden_size, true), norm(m, name, c.hidden_size), dropout(c.hidden_dropout) {}

  Tensor operator()(const Tensor& x, const Tensor& residual) const {
    Tensor hidden = dense(x);
    hidden = tape::dropout(hidden, dropout);
    return norm(hidden + residual);
  }
};

struct SelfAttention {
  Linear query, key, value;
  AddAndNorm output;
  std::int64_t head_dim;
  FullAttention attention;

  SelfAttention(ParameterMaker& m, const BertConfig& c, Attention kind)
      : query(m, "attention.self.query", c.hidden_size, c.hidden_size, true),
        key(m, "attention.self.key", c.hidden_size, c.hidden_size, true),
        value(m, "attention.self.value", c.hidden_size, c.hidden_size, true),
        output(m, "attention.output.dense", c.hidden_size, c),
        head_dim(c.hidden_size / c.heads),
        attention{.kind = kind, .dropout = c.attention_dropout} {}

  Attended attended(const Tensor& hidden) const {
    const Tensor queries = as_heads(query(hidden), head_dim);
    const Tensor keys = as_heads(key(hidden), head_dim);
    const Tensor values = as_heads(value(hidden), head_dim);
    Attended out = attend_to_all(queries, keys, values, attention);
    out.output = contiguous(reshape(out.output, {hidden.size(0), hidden.size(1), -1}));
    return out;
  }

  Attended operator()(const Tensor& hidden) const {
    Attended out = attended(hidden);
    out.output = output(out.output, hidden);
    return out;
  }
};

struct Layer {
  SelfAttention attention;
  Linear intermediate;
  AddAndNorm output;
  Activation activation;

  Layer(ParameterMaker& m, const BertConfig& c, Attention kind)
      : attention(m, c, kind),
        intermediate(m, "intermediate.dense", c.hidden_size, c.intermediate_size, true),
        output(m, "output.dense", c.intermediate_size, c),
        activation(c.activation) {}

  Tensor fed_forward(const Tensor& x) const {
    Tensor hidden = intermediate(x);
    hidden = activate(activation, hidden);
    return hidden;
  }

  Tensor operator()(const Tensor& x) const {
    const Attended attended = attention(x);
    const Tensor hidden = fed_forward(attended.output);
    return output(hidden, attended.output);
  }
};

// A masked language model's head. Tied, its output layer has the weight of the word embeddings, and the head's bias.
struct MaskedLmHead {
  Linear dense;
  LayerNorm norm;
  Linear decoder;
  Tensor unused_bias;  // the head's own, where the output layer's is another
  Activation activation;

  MaskedLmHead(ParameterMaker& m, const BertConfig& c, const Tensor& embeddings)
      : activation(c.is_roberta ? Activation::kGelu : c.activation) {
    const std::size_t begin = m.count();
    dense = Linear(m, "predictions.transform.dense", c.hidden_size, c.hidden_size, true);
    norm = LayerNorm(m, "predictions.transform.LayerNorm", c.hidden_size);
    if (c.ties_embeddings) {
      decoder.weight = embeddings;
      decoder.bias = m.parameter_listed_at(begin, "predictions.bias", {c.vocab_size});
    } else {
      decoder = Linear(m, "predictions.decoder", c.hidden_size, c.vocab_size, true);
      unused_bias = m.parameter_listed_at(begin, "predictions.bias", {c.vocab_size});
    }
  }

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = dense(x);
    hidden = activate(activation, hidden);
    hidden = norm(hidden);
    hidden = decoder(hidden);
    return hidden;
  }
};

// BertPooler and a linear layer, or RobertaClassificationHead.
struct Classifier {
  Linear dense, out;
  double dropout;
  bool drops_first;

  Classifier(ParameterMaker& m, const BertConfig& c)
      : dense(m, "pooler.dense", c.hidden_size, c.hidden_size, true),
        out(m, "classifier", c.hidden_size, c.labels, true),
        dropout(c.classifier_dropout),
        drops_first(c.is_roberta) {}

  Tensor pooled(const Tensor& hidden) const {
    Tensor x = select(hidden, 1, 0);
    if (drops_first) x = tape::dropout(x, dropout);
    x = dense(x);
    x = tape::tanh(x);
    return x;
  }

  Tensor logits(const Tensor& pooled) const {
    const Tensor x = tape::dropout(pooled, dropout);
    return out(x);
  }
};

class Bert final : public Model {
 public:
  Bert(Tape& tape, const BertConfig& config, DType type, const ForwardOptions& options)
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
    if (config.head == BertHead::kMaskedLm) {
      language_head_.emplace(maker_, config, embeddings_.word.weight);
    } else {
      classifier_.emplace(maker_, config);
    }
    parameters_ = maker_.tensors();
  }

  const std::vector<Tensor>& parameters() const override { return parameters_; }
  const std::vector<NamedParameter>& named_parameters() const override { return maker_.made(); }
  const std::vector<NamedParameter>& named_buffers() const override { return maker_.buffers(); }

  std::vector<BatchTensor> inputs(const BatchSize& size) const override {
    const Dims texts = {size.samples, size.tokens};
    const Dims labels = config_.head == BertHead::kMaskedLm ? texts : Dims{size.samples};
    return {{"input_ids", texts, DType::kInt64}, {"labels", labels, DType::kInt64}};
  }

  Tensor loss(const Batch& batch) override {
    Tensor pooled;
    const Tensor hidden = encoded(batch[0], pooled);
    if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
    const Tensor logits = language_head_ ? (*language_head_)(hidden) : classified(hidden, pooled);
    return classification_loss(logits, batch[1]);
  }

 private:
  Tensor classified(const Tensor& hidden, const Tensor& pooled) const {
    return classifier_->logits(pooled.defined() ? pooled : classifier_->pooled(hidden));
  }

  // BERT's pooler is part of the model, which keeps the embeddings until it returns.
  Tensor encoded(const Tensor& ids, Tensor& pooled) const {
    const Tensor embedded = embeddings_(ids);
    Tensor hidden = embedded;
    int number = 0;
    for (const Layer& layer : layers_)
      hidden = run_layer(options_, number++, hidden, [&layer](const Tensor& in) { return layer(in); });
    if (classifier_ && !config_.is_roberta) pooled = classifier_->pooled(hidden);
    return hidden;
  }

  ForwardOptions options_;
  ParameterMaker maker_;
  BertConfig config_;
  Embeddings embeddings_;
  std::vector<Layer> layers_;
  std::optional<MaskedLmHead> language_head_;
  std::optional<Classifier> classifier_;
  std::vector<Tensor> parameters_;
};

}  // namespace

std::unique_ptr<Model> bert(tape::Tape& tape, const BertConfig& config, DType type, const ForwardOptions& options) {
  return std::make_unique<Bert>(tape, config, type, options);
}

}  // namespace vramwise
