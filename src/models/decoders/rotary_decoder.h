// RotaryDecoder: a stack of layers with rotary positions, as most decoders of transformers 5 are built. The
// architecture says what its parts are; DecoderParts has what most of them have in common:
//
//   struct GemmaParts : DecoderParts<GemmaConfig> {
//     using Embed = ScaledEmbedding;
//     using Norm = GemmaRmsNorm;
//     using Layer = GemmaLayer;
//   };
//
// A part is made from (ParameterMaker&, const Config&). Where layers differ, Layer has a function
// `static int kind(const Config&, int number)` and is also made from its kind: never from its number, so that layers
// of one kind are alike.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "models/architecture.h"
#include "models/decoders/decoder_lm.h"
#include "models/decoders/stack_config.h"
#include "models/parts/attention.h"
#include "models/parts/layers.h"
#include "models/parts/masks.h"
#include "models/parts/rms_norm.h"
#include "models/parts/rotary.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {

struct TokenEmbedding : Embedding {
  TokenEmbedding(ParameterMaker& maker, const StackConfig& config)
      : Embedding(maker, "embed_tokens", config.vocab_size, config.hidden_size) {}
};

struct FinalRmsNorm : RmsNorm {
  FinalRmsNorm(ParameterMaker& maker, const StackConfig& config) : RmsNorm(maker, "norm", config.hidden_size) {}
};

/// One table of cosines and sines for all layers.
struct CommonRotary {
  Rotary rotary;

  CommonRotary(ParameterMaker& maker, const StackConfig& config)
      : rotary(maker, config.head_dim, Rotary::Kind::kHalves, config.rotary_type) {}
  explicit CommonRotary(Rotary made) : rotary(std::move(made)) {}
  RotaryTables operator()(const Tensor& x, const Tensor& positions) const {
    RotaryTables tables;
    tables.full = tables.sliding = rotary(x, positions);
    return tables;
  }
};

template <typename ConfigType>
struct DecoderParts {
  using Config = ConfigType;
  using Embed = TokenEmbedding;
  using Norm = FinalRmsNorm;
  using Tables = CommonRotary;
  static constexpr bool kHeadHasBias = false;
  static constexpr bool kNormComesLast = false;  ///< of the model's own modules; as a rule the tables do

  /// What becomes of the embeddings at once.
  static Tensor embedded(Tensor embedded, const Config&) { return embedded; }
  /// What enters the first layer. `embedded` may be given another value, as inputs_embeds is in some models.
  static Tensor enter(Tensor& embedded, const Config&) { return embedded; }
  static Tensor logits(Tensor logits, const Config&) { return logits; }
};

/// The modules after the layers, in the order in which they come onto the device.
template <typename Norm, typename Tables, bool kNormComesLast>
struct End {
  Norm norm;
  Tables tables;

  End(ParameterMaker& maker, const auto& config) : norm(maker, config), tables(maker, config) {}
};
template <typename Norm, typename Tables>
struct End<Norm, Tables, true> {
  Tables tables;
  Norm norm;

  End(ParameterMaker& maker, const auto& config) : tables(maker, config), norm(maker, config) {}
};

template <typename Parts>
class RotaryDecoder final : public DecoderLm {
 public:
  using Config = typename Parts::Config;

  RotaryDecoder(tape::Tape& tape, const Config& config, DType type, const ForwardOptions& options)
      : DecoderLm(tape, type, options),
        config_(config),
        embed_(maker_, config_),
        layers_(make_layers()),
        end_(maker_, config_) {
    make_head({.embeddings = embed_.weight,
               .is_tied = config.ties_embeddings,
               .width = config.hidden_size,
               .vocab_size = config.vocab_size,
               .has_bias = Parts::kHeadHasBias});
  }

  std::vector<int> layer_kinds() const override {
    std::vector<int> kinds;
    for (int i = 0; i < config_.layers; ++i) {
      int kind = config_.slides(static_cast<std::size_t>(i)) ? 1 : 0;
      if constexpr (kHasKinds) kind += 2 * Parts::Layer::kind(config_, i);
      kinds.push_back(kind);
    }
    return kinds;
  }

 private:
  static constexpr bool kHasKinds = requires(const Config& config) { Parts::Layer::kind(config, 0); };

  std::vector<typename Parts::Layer> make_layers() {
    std::vector<typename Parts::Layer> layers;
    layers.reserve(static_cast<std::size_t>(config_.layers));
    for (int i = 0; i < config_.layers; ++i) {
      maker_.set_layer(i);
      if constexpr (kHasKinds) {
        layers.emplace_back(maker_, config_, Parts::Layer::kind(config_, i));
      } else {
        layers.emplace_back(maker_, config_);
      }
    }
    maker_.set_layer(-1);
    return layers;
  }

  Tensor hidden_states(const Tensor& input_ids, KeyValueCache& cache) override {
    tape::Tape& tape = input_ids.tape();
    const bool uses_cache = options_.has_cache();
    Tensor embedded = embed_(input_ids);
    if (options_.marks_embeddings()) embedded->requires_grad = true;
    embedded = Parts::embedded(std::move(embedded), config_);
    Tensor positions = tape::arange(tape, input_ids.size(1));
    positions = tape::unsqueeze(positions + 0, 0);
    const Masks masks = make_masks(embedded, positions, uses_cache);
    Tensor hidden = Parts::enter(embedded, config_);
    const RotaryTables tables = end_.tables(hidden, positions);
    LayerContext context{.cache = uses_cache ? &cache : nullptr,
                         .attention = options_.attention,
                         .dropout = config_.attention_dropout,
                         .groups = config_.heads / config_.kv_heads,
                         .caps_scores = config_.caps_scores,
                         .positions = positions};
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto& layer = layers_[i];
      context.is_sliding = config_.slides(i);
      context.mask = context.is_sliding ? masks.sliding : masks.full;
      context.rotary = context.is_sliding ? tables.sliding : tables.full;
      LayerContext seen = context;
      if (options_.hooks != nullptr) {
        seen.rotary.cos = options_.hooks->argument(context.rotary.cos);
        seen.rotary.sin = options_.hooks->argument(context.rotary.sin);
      }
      hidden = run_layer(options_, static_cast<int>(i), hidden,
                         [&layer, seen](const Tensor& in) { return layer(in, seen); });
    }
    return end_.norm(hidden);
  }

  Tensor transformed(Tensor logits) const override { return Parts::logits(std::move(logits), config_); }

  struct Masks {
    Tensor full;
    Tensor sliding;
  };
  Masks make_masks(const Tensor& embedded, const Tensor& positions, bool uses_cache) const {
    MaskRequest request{.embeddings = embedded,
                        .positions = positions,
                        .attention = options_.attention,
                        .has_cache = uses_cache,
                        .window = {}};
    const bool some_slide = config_.some_slide();
    Masks masks;
    if (config_.makes_full_mask || !some_slide) masks.full = causal_mask(request);
    request.window = config_.sliding_window;
    if (some_slide || config_.makes_sliding_mask) masks.sliding = causal_mask(request);
    return masks;
  }

  Config config_;
  typename Parts::Embed embed_;
  std::vector<typename Parts::Layer> layers_;
  End<typename Parts::Norm, typename Parts::Tables, Parts::kNormComesLast> end_;
};

template <typename Parts>
Architecture rotary_decoder(const typename Parts::Config& config) {
  return {.layers = config.layers,
          .max_positions = config.max_positions,
          .has_flash2 = true,
          .takes_chunked_loss = !Parts::kHeadHasBias,
          .make = [config](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return std::make_unique<RotaryDecoder<Parts>>(tape, config, type, options);
          }};
}

}  // namespace vramwise
