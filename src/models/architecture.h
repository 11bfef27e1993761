// An architecture with its dimensions: what reading a config.json comes to, and what a model is made from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "models/model.h"
#include "tape/tape.h"

namespace vramwise {

/// Which sizes of a batch mean something to a model.
struct BatchKind {
  bool texts = true;             ///< tokens of a text
  bool targets = false;          ///< tokens of a text to be written
  std::int64_t image_size = 0;   ///< of the images that the model is made for; 0: it takes none
  bool fixed_image_size = true;  ///< it has a position for each patch, and takes no other size
};

struct Architecture {
  int layers = 0;
  std::int64_t max_positions = 0;          ///< tokens that the model is made for; 0: config.json doesn't say
  bool has_learned_positions = false;      ///< a row of parameters each: a longer text stops the model
  bool has_sdpa = true;                    ///< transformers takes eager attention by default where it is not there
  bool has_flash2 = false;                 ///< whether flash-attention 2 is modelled for it
  bool has_eager = true;                   ///< whether its library has attention of plain operators
  bool takes_lora = true;                  ///< whether the layers that LoRA adapts are torch.nn.Linear
  bool takes_fused_loss = false;           ///< whether Liger-Kernel's fused head and loss are known to be its
  bool takes_chunked_loss = false;         ///< whether its head has no bias, and so is TRL's loss in chunks
  bool takes_4bit = false;                 ///< whether `quantization` is known to its layers
  bool takes_fp16_weights = true;          ///< whether what it does in float16 is modelled
  bool takes_checkpoints = true;           ///< whether gradient_checkpointing_enable() works
  bool takes_layers_to_checkpoint = true;  ///< whether the first K layers alone may be checkpointed
  bool tells_modules = false;              ///< whether its modules tell of themselves, as ZeRO-3's hooks want it
  bool takes_sharding = true;  ///< whether fully_shard takes it (it refuses CLIP's scale, which has no dimension)
  const char* auto_class = "AutoModelForCausalLM";  ///< of transformers, whose from_pretrained() makes it
  BatchKind takes{};
  TensorPlan tensor_plan{};  ///< of tensor parallelism
  /// The model with weights of the type, moved to the tape's device. The tape must outlive it.
  std::function<std::unique_ptr<Model>(tape::Tape&, DType, const ForwardOptions&)> make;
};

}  // namespace vramwise
