// Keys and defaults of transformers 5: models/bert/configuration_bert.py, models/roberta/configuration_roberta.py.

#include <fmt/format.h>

#include <string>

#include "models/encoders/bert.h"
#include "models/parts/classification.h"

namespace vramwise {
namespace {

// Which head the checkpoint has: "architectures" names the class. The bare model is trained by a classifier's loss.
BertHead head_of(ConfigReader& r, const std::string& family) {
  const std::string name = r.architecture();
  if (name.empty() || name == family + "ForMaskedLM") return BertHead::kMaskedLm;
  if (name != family + "ForSequenceClassification" && name != family + "Model")
    r.fail(not_modelled(fmt::format("the head of {} is not modelled", name)));
  return BertHead::kSequenceClassification;
}

BertConfig bert_config(ConfigReader& r, BertConfig c, const std::string& family) {
  c.head = head_of(r, family);
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.max_positions = r.dimension("max_position_embeddings", c.max_positions);
  c.token_types = r.dimension("type_vocab_size", c.token_types);
  c.activation = read_activation(r, "hidden_act", "gelu");
  c.hidden_dropout = r.number("hidden_dropout_prob", c.hidden_dropout);
  c.attention_dropout = r.number("attention_probs_dropout_prob", c.attention_dropout);
  c.classifier_dropout = r.has("classifier_dropout") ? r.number("classifier_dropout", 0) : c.hidden_dropout;
  c.ties_embeddings = r.flag("tie_word_embeddings", true);
  if (c.head == BertHead::kSequenceClassification) c.labels = read_label_count(r);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("num_attention_heads {} does not divide hidden_size {}", c.heads, c.hidden_size)));
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (r.flag(key, false)) r.fail(not_modelled(fmt::format("{} is not modelled", key)));
  return c;
}

Architecture architecture_of(const BertConfig& c) {
  // RoBERTa's positions begin behind the padding token's.
  return {.layers = c.layers,
          .max_positions = c.is_roberta ? c.max_positions - 2 : c.max_positions,
          .has_learned_positions = true,
          .auto_class = c.head == BertHead::kMaskedLm ? "AutoModelForMaskedLM" : "AutoModelForSequenceClassification",
          .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return bert(tape, c, type, options);
          }};
}

}  // namespace

Architecture read_bert(ConfigReader& reader) { return architecture_of(bert_config(reader, {}, "Bert")); }

Architecture read_roberta(ConfigReader& reader) {
  BertConfig defaults;
  defaults.is_roberta = true;
  defaults.vocab_size = 50265;
  return architecture_of(bert_config(reader, defaults, "Roberta"));
}

}  // namespace vramwise
