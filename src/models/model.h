// A model as a training loop sees it: which tensors a batch has, and the loss of one.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "models/module.h"
#include "tape/parallel/layer_hooks.h"
#include "tape/transforms/repeat.h"

namespace vramwise {

/// attn_implementation of transformers.
enum class Attention : std::uint8_t { kSdpa, kEager, kFlash2 };

/// As a number of checkpointed layers: gradient_checkpointing_enable().
inline constexpr int kAllLayers = std::numeric_limits<int>::max();

/// How a language model comes from hidden states to its loss.
enum class LossKind : std::uint8_t {
  kWhole,   ///< of all logits in float32, as transformers has it
  kLiger,   ///< head and loss are one op of Liger-Kernel
  kChunked  ///< head and log-probabilities in tiles, as TRL's SFTTrainer has it
};

/// Which layers run a second time in the backward pass.
struct Checkpointing {
  int layers = 0;             ///< the first so many, in the order of model.modules()
  int every = 1;              ///< of those the n-th, the 2n-th, …
  bool is_selective = false;  ///< results of matrix products and attention are kept (tape/transforms/selective.h)

  bool is_on() const { return layers > 0; }
  bool covers(int layer) const { return layer < layers && (layer + 1) % every == 0; }
};

/// What of a model's forward pass is the run's choice, not the architecture's.
struct ForwardOptions {
  Attention attention = Attention::kSdpa;
  Checkpointing checkpointing{};
  bool uses_cache = true;  ///< use_cache of the configuration; off under checkpointing
  LossKind loss = LossKind::kWhole;
  LoraOptions lora{};
  Quantization quantization = Quantization::kNone;
  std::optional<DType> stored{};             ///< of weights and buffers, where it is not what is computed in
  TensorSharing tensor_sharing{};            ///< of tensor parallelism
  tape::LayerHooks* hooks = nullptr;         ///< what surrounds each layer: fully_shard
  tape::ModuleInit* init = nullptr;          ///< what takes parameters as soon as their module is made: ZeRO-3
  tape::LayerRepeater* repeater = nullptr;   ///< runs layers that are alike once
  Tensor* logits = nullptr;                  ///< where those of a language model are kept, if it makes them whole
  std::optional<std::uint32_t> loss_mark{};  ///< a mark of the tape that stands where logits and loss begin

  /// TRL asks for none.
  bool has_cache() const { return uses_cache && !checkpoints() && loss != LossKind::kChunked; }
  bool checkpoints() const { return checkpointing.is_on(); }
  /// enable_input_require_grads, which PEFT calls for a model with checkpointed layers: the embeddings want a gradient
  /// though nothing before them does.
  bool marks_embeddings() const { return checkpoints() && lora.is_on(); }
};

/// How large a batch is. A model ignores what it has no use for.
struct BatchSize {
  std::int64_t samples = 1;
  std::int64_t tokens = 1024;        ///< of a text
  std::int64_t target_tokens = 128;  ///< of the text that an encoder-decoder is to write
  std::int64_t image_size = 224;     ///< height and width of an image (or of its latents), in pixels
};

/// A tensor of a batch: the name of forward()'s argument, and what the training loop copies to the device.
struct BatchTensor {
  const char* name = "";
  tape::Dims sizes;
  DType type = DType::kFloat32;
};

/// A batch, in the order of Model::inputs().
using Batch = std::vector<Tensor>;

class Model {
 public:
  virtual ~Model() = default;
  /// The tensors of a batch, in the order in which a training loop makes them.
  virtual std::vector<BatchTensor> inputs(const BatchSize& size) const = 0;
  /// model(**batch).loss. The result keeps alive what the caller's `outputs` would: nothing, as scripts take the loss
  /// only.
  virtual Tensor loss(const Batch& batch) = 0;
  /// The same, by a loop that takes tensors out of its batch: they live as long as the model's own code keeps them.
  virtual Tensor loss_of_taken(Batch& batch) { return loss(batch); }
  virtual const std::vector<Tensor>& parameters() const = 0;
  virtual const std::vector<NamedParameter>& named_parameters() const = 0;
  /// Of each layer that the forward pass runs, by number: layers of one kind compute the same with parameters of their
  /// own. Empty: nothing is known of them.
  virtual std::vector<int> layer_kinds() const { return {}; }
  /// Without names.
  virtual const std::vector<NamedParameter>& named_buffers() const = 0;
};

}  // namespace vramwise
