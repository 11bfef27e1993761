// Keys and defaults of transformers 5: models/gpt2/configuration_gpt2.py.

#include <fmt/format.h>

#include "models/decoders/gpt2.h"

namespace vramwise {
namespace {

Gpt2Config gpt2_config(ConfigReader& r) {
  Gpt2Config c;
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.max_positions = r.dimension("n_positions", c.max_positions);
  c.hidden_size = r.dimension("n_embd", c.hidden_size);
  c.inner_size = r.has("n_inner") ? r.dimension("n_inner", 1) : 4 * c.hidden_size;
  c.layers = r.layers("n_layer", c.layers);
  c.heads = r.dimension("n_head", c.heads);
  c.embedding_dropout = r.number("embd_pdrop", c.embedding_dropout);
  c.attention_dropout = r.number("attn_pdrop", c.attention_dropout);
  c.residual_dropout = r.number("resid_pdrop", c.residual_dropout);
  c.ties_embeddings = r.flag("tie_word_embeddings", true);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("n_head {} does not divide n_embd {}", c.heads, c.hidden_size)));
  r.require("activation_function", "gelu_new", {"gelu_new"});
  for (const char* key : {"add_cross_attention", "reorder_and_upcast_attn"})
    if (r.flag(key, false)) r.fail(not_modelled(fmt::format("{} is not modelled", key)));
  return c;
}

}  // namespace

Architecture read_gpt2(ConfigReader& reader) {
  const Gpt2Config c = gpt2_config(reader);
  return {.layers = c.layers,
          .max_positions = c.max_positions,
          .has_learned_positions = true,
          .takes_chunked_loss = true,
          .tells_modules = true,
          .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return gpt2(tape, c, type, options);
          }};
}

}  // namespace vramwise
