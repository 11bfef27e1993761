// MixtralForCausalLM, Qwen2MoeForCausalLM (one expert more that every token goes through) and Qwen3MoeForCausalLM. In
// the Qwens some layers may have a plain feed-forward network.

#include "models/decoders/mixtral.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "models/decoders/experts.h"
#include "models/decoders/llama_parts.h"
#include "models/decoders/pre_norm_layer.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct MoeConfig : StackConfig {
  ExpertsConfig experts;
  bool qkv_bias = false;
  bool output_bias = false;
  bool normalizes_heads = false;
  bool router_comes_first = true;      ///< among the modules of a block
  std::int64_t shared_inner_size = 0;  ///< of the expert for all tokens; 0: none
  std::vector<bool> plain_layers;      ///< by layer; empty: none
  bool is_plain(int layer) const { return !plain_layers.empty() && plain_layers[static_cast<std::size_t>(layer)]; }
};

struct SharedExpert {
  GatedMlp mlp;
  Linear gate;

  SharedExpert(ParameterMaker& m, const MoeConfig& c)
      : mlp(m, c, "mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj", "mlp.shared_expert.down_proj",
            c.shared_inner_size, false),
        gate(m, "mlp.shared_expert_gate", c.hidden_size, 1, false) {}
};

struct MoeBlock {
  std::optional<TopKRouter> gate;
  std::optional<Experts> experts;
  std::optional<SharedExpert> shared;
  std::optional<GatedMlp> plain;

  MoeBlock(ParameterMaker& m, const MoeConfig& c, bool is_plain) {
    if (is_plain) {
      plain.emplace(m, c);
      return;
    }
    if (c.router_comes_first) gate.emplace(m, c, c.experts);
    experts.emplace(m, c, c.experts);
    if (!c.router_comes_first) gate.emplace(m, c, c.experts);
    if (c.shared_inner_size > 0) shared.emplace(m, c);
  }

  Tensor operator()(const Tensor& x) const {
    if (plain) return (*plain)(x);
    const Dims shape = x.sizes();
    const Tensor rows = view(x, {-1, x.size(-1)});
    Tensor shared_output;
    if (shared) shared_output = shared->mlp(rows);
    const TopKRouter::Routing routing = (*gate)(rows);
    Tensor output = (*experts)(rows, routing.experts, routing.scores);
    if (shared) {
      Tensor openness = sigmoid(shared->gate(rows));
      shared_output = std::move(openness) * shared_output;
      output = output + shared_output;
    }
    return reshape(output, shape);
  }
};

struct MoeLayer : PreNormLayer<LlamaAttention, MoeBlock, RmsNorm> {
  enum Kind : int { kExperts, kPlain };
  static int kind(const MoeConfig& c, int layer) { return c.is_plain(layer) ? kPlain : kExperts; }

  MoeLayer(ParameterMaker& m, const MoeConfig& c, int kind)
      : PreNormLayer{
            LlamaAttention(
                m, c, {.qkv_bias = c.qkv_bias, .output_bias = c.output_bias, .normalizes_heads = c.normalizes_heads}),
            MoeBlock(m, c, kind == kPlain), RmsNorm(m, "input_layernorm", c.hidden_size),
            RmsNorm(m, "post_attention_layernorm", c.hidden_size)} {}
};

struct MoeDecoder : DecoderParts<MoeConfig> {
  using Layer = MoeLayer;
};

// Which layers have no experts.
void read_plain_layers(ConfigReader& r, MoeConfig& c) {
  const std::vector<std::int64_t> listed = r.counts("mlp_only_layers");
  const std::int64_t step = r.dimension("decoder_sparse_step", 1);
  for (int i = 0; i < c.layers; ++i)
    c.plain_layers.push_back(std::find(listed.begin(), listed.end(), i) != listed.end() || (i + 1) % step != 0);
}

MoeConfig qwen_config(ConfigReader& r, const StackDefaults& defaults) {
  MoeConfig c;
  c.vocab_size = 151936;
  c.hidden_size = 2048;
  c.layers = 24;
  read_stack(r, c, defaults);
  read_plain_layers(r, c);
  return c;
}

}  // namespace

Architecture read_mixtral(ConfigReader& r) {
  MoeConfig c;
  c.intermediate_size = 14336;
  read_stack(r, c, {.kv_heads = 8});
  c.experts.scores_are_float32 = true;
  read_experts(r, c.experts, "num_local_experts", "intermediate_size");
  if (r.has("sliding_window")) c.slide_everywhere(r.dimension("sliding_window", 1, kMostPositions));
  if (r.number("router_jitter_noise", 0) > 0) r.fail(not_modelled("router_jitter_noise is not modelled"));
  return rotary_decoder<MoeDecoder>(c);
}

Architecture read_qwen2_moe(ConfigReader& r) {
  MoeConfig c = qwen_config(r, {.kv_heads = 16});
  c.experts = {.experts = 60, .chosen = 4, .inner_size = 1408, .normalizes_scores = r.flag("norm_topk_prob", false)};
  read_experts(r, c.experts, "num_experts", "moe_intermediate_size");
  c.shared_inner_size = r.dimension("shared_expert_intermediate_size", 5632);
  c.qkv_bias = r.flag("qkv_bias", true);
  const bool uses_window = r.flag("use_sliding_window", false);
  // Both masks are made; without a window the other one's is 0 tokens wide.
  c.makes_sliding_mask = true;
  c.sliding_window = uses_window ? r.dimension("sliding_window", 4096, kMostPositions) : 0;
  const std::int64_t first = r.count("max_window_layers", 28);
  std::vector<bool> slides;
  slides.reserve(static_cast<std::size_t>(c.layers));
  for (int i = 0; i < c.layers; ++i) slides.push_back(uses_window && (i + 1) % 2 != 0 && i < first);
  read_layer_types(r, c, slides);
  return rotary_decoder<MoeDecoder>(c);
}

Architecture read_qwen3_moe(ConfigReader& r) {
  MoeConfig c = qwen_config(r, {.kv_heads = 4});
  c.experts = {.experts = 128, .chosen = 8, .inner_size = 768, .normalizes_scores = r.flag("norm_topk_prob", false)};
  read_experts(r, c.experts, r.has("num_local_experts") ? "num_local_experts" : "num_experts", "moe_intermediate_size");
  c.router_comes_first = false;
  c.normalizes_heads = true;
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  if (r.flag("use_sliding_window", false) && !r.is_null("sliding_window"))
    c.slide_everywhere(r.dimension("sliding_window", 4096, kMostPositions));
  return rotary_decoder<MoeDecoder>(c);
}

}  // namespace vramwise
