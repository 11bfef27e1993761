// Keys and defaults of transformers 5: models/t5/configuration_t5.py.

#include <string>

#include "models/encoder_decoders/t5.h"

namespace vramwise {
namespace {

// "relu", "gated-gelu": the latter has always meant the approximation by tanh.
void read_feed_forward(ConfigReader& r, T5Config& c) {
  constexpr std::string_view kGated = "gated-";
  const std::string name = r.text("feed_forward_proj", "relu");
  c.is_gated = name.starts_with(kGated);
  const std::string activation = c.is_gated ? name.substr(kGated.size()) : name;
  c.activation = activation_named(r, "feed_forward_proj", name == "gated-gelu" ? "gelu_new" : activation);
}

}  // namespace

Architecture read_t5(ConfigReader& r) {
  T5Config c;
  const std::string name = r.architecture();
  if (!name.empty() && name != "T5ForConditionalGeneration" && name != "T5Model" &&
      name != "T5WithLMHeadModel")  // the name that the first checkpoints have for it
    r.fail(not_modelled("T5 is modelled as T5ForConditionalGeneration only, not as " + name));
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.width = r.dimension("d_model", c.width);
  c.head_dim = r.dimension("d_kv", c.head_dim);
  c.inner_size = r.dimension("d_ff", c.inner_size);
  c.encoder_layers = r.layers("num_layers", c.encoder_layers);
  c.decoder_layers = r.layers("num_decoder_layers", c.encoder_layers);
  c.heads = r.dimension("num_heads", c.heads);
  c.buckets = r.dimension("relative_attention_num_buckets", c.buckets);
  c.dropout = r.number("dropout_rate", c.dropout);
  c.scales_output = r.flag("tie_word_embeddings", true);
  read_feed_forward(r, c);
  return {
      .layers = c.encoder_layers + c.decoder_layers,
      .takes_fp16_weights = false,
      .auto_class = "AutoModelForSeq2SeqLM",
      .takes = {.targets = true},
      .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) { return t5(tape, c, type, options); }};
}

}  // namespace vramwise
