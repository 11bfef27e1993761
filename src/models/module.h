// Building blocks of architectures on the tape: parameters with names, and torch.nn's layers.
//
// Parts of a model are plain structs made from a ParameterMaker; calling one is its forward(). Lifetimes follow
// Python's: a local variable lives until its function returns, an operand of an expression until the expression is
// computed, a module's arguments until the module returns. One expression must not make two tensors whose order is left
// open: C++ does not say which operand of `f(a) * g(b)` comes first, Python does; give the first one a name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/lora.h"
#include "models/tensor_plan.h"
#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/linear_4bit.h"
#include "tape/ops/norm.h"
#include "tape/parallel/module_hooks.h"
#include "tape/parallel/tensor_parallel.h"
#include "tape/tape.h"

namespace vramwise {

using tape::DType;
using tape::Tensor;

/// What a parameter is under tensor parallelism: a plain tensor, or a DTensor of which this rank has a part or all.
enum class Distribution : std::uint8_t { kPlain, kPart, kReplicated };

/// A parameter and where it belongs: "self_attn.q_proj.weight" of layer 3. Layer −1 is outside the layers.
struct NamedParameter {
  const char* name;
  int layer;
  Tensor tensor;
  int made = 0;  ///< its place in the order in which parameters come onto the device
  Distribution distribution = Distribution::kPlain;
  std::int64_t other_numel = 0;  ///< elements that other ranks have
};

/// Plain tensors and DTensors each in a list of their own, in the order in which the first ones come: kernels over many
/// tensors take one kind, so transformers' Trainer makes such groups for the optimizer.
std::vector<std::vector<NamedParameter>> by_mesh(const std::vector<NamedParameter>& parameters);

/// What hooks know a module by that has no parameters of its own.
struct ModuleTag {
  char unused = 0;
};

/// How the weights of linear layers are kept.
enum class Quantization : std::uint8_t {
  kNone,
  kNf4,       ///< bitsandbytes' NF4
  kNf4Double  ///< with double quantization: the scales are quantized too
};

/// Makes the parameters of a model in the order in which they come onto the device.
class ParameterMaker {
 public:
  /// `stored`: the type of the model before fully_shard casts parameters for the computation in `type`.
  ParameterMaker(tape::Tape& tape, DType type, LoraOptions lora = {}, std::optional<DType> stored = {},
                 Quantization quantization = Quantization::kNone)
      : tape_(tape),
        type_(type),
        stored_type_(stored.value_or(type)),
        lora_(std::move(lora)),
        quantization_(quantization) {}

  tape::Tape& tape() const { return tape_; }
  DType type() const { return type_; }
  /// Of buffers that model.to(type) casts; what fully_shard casts for the computation are parameters alone.
  DType stored_type() const { return stored_type_; }
  void set_layer(int layer) { layer_ = layer; }
  void set_tensor_sharing(TensorSharing sharing) { sharing_ = std::move(sharing); }
  /// What takes the parameters of each module once it is made; null as a rule.
  void set_init(tape::ModuleInit* init) { init_ = init; }
  tape::ModuleInit* init() const { return init_; }
  /// Every module that was begun is made. Comes by itself before the next parameter or buffer.
  void end_module();
  TensorShare share_of(const char* name) const { return sharing_.of(name); }
  /// `name` must be a literal.
  Tensor parameter(const char* name, const tape::Dims& sizes);
  /// A parameter that a module owns besides its children: it comes onto the device after theirs, but stands before
  /// them in model.parameters(), at `index` (count() when the module's first child was to be made).
  Tensor parameter_listed_at(std::size_t index, const char* name, const tape::Dims& sizes);
  std::size_t count() const { return made_.size(); }
  /// A module's parameter that another module's takes the place of.
  void replaced(const tape::Dims& sizes);
  Tensor buffer(const tape::Dims& sizes, DType type);
  /// The same of one that is there already.
  void note_buffer(Tensor tensor) { buffers_.push_back({"", layer_, std::move(tensor)}); }
  const LoraOptions& lora() const { return lora_; }
  /// The factors of a layer that LoRA adapts; null for others. Over quantized weights they come with finish().
  std::shared_ptr<LoraFactors> factors(const char* name, std::int64_t in, std::int64_t out);
  /// The 4-bit weight of a linear layer; null where it isn't quantized.
  std::shared_ptr<tape::Weight4bit> quantized(const char* name, const tape::Dims& sizes);
  /// What follows once the model is on the device: a quantized one is prepared for training as PEFT does
  /// (prepare_model_for_kbit_training), then gets its factors.
  void finish();

  const std::vector<NamedParameter>& made() const { return made_; }
  const std::vector<NamedParameter>& buffers() const { return buffers_; }
  /// The tensors alone, as model.parameters() lists them.
  std::vector<Tensor> tensors() const;

 private:
  struct Pending {
    std::size_t at = 0;  ///< the place of the first factor in made_
    std::shared_ptr<LoraFactors> factors;
    std::int64_t in = 0;
    std::int64_t out = 0;
  };
  Tensor one(const char* name, const tape::Dims& whole, DType type, bool is_trained);
  void note(const char* name, Tensor tensor);
  void make_factors(const Pending& pending, DType type);
  Tensor leaf(const tape::Dims& sizes, DType type);

  tape::Tape& tape_;
  DType type_;
  DType stored_type_;
  TensorSharing sharing_;
  LoraOptions lora_;
  Quantization quantization_;
  int layer_ = -1;
  std::vector<NamedParameter> made_;
  std::vector<NamedParameter> buffers_;
  tape::ModuleInit* init_ = nullptr;
  std::vector<Tensor> of_module_;  ///< parameters of the module that is being made, where there is an init
  std::vector<Pending> pending_;
  std::vector<Tensor> pending_copies_;
  Tensor quantization_map_;
};

/// torch.nn.Linear. weight: (out, in).
struct Linear {
  Tensor weight;  ///< undefined where it is quantized
  Tensor bias;
  std::shared_ptr<tape::Weight4bit> quantized;
  std::shared_ptr<LoraFactors> lora;
  TensorShare share;     ///< of tensor parallelism: weight and bias are this rank's parts
  std::int64_t out = 0;  ///< of the whole layer

  Linear() = default;
  Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias);
  Tensor operator()(Tensor x) const {
    if (!share.is_whole()) return shared_out(x);
    if (quantized != nullptr || lora != nullptr) return changed(x);
    return x.tape().module_hooks() == nullptr ? tape::linear(std::move(x), weight, bias) : hooked(x);
  }

 private:
  Tensor changed(const Tensor& x) const;
  Tensor hooked(const Tensor& x) const;
  Tensor shared_out(const Tensor& x) const;
  Tensor from_4bit(Tensor x) const;
};

/// Conv1D of transformers: a linear layer with its weight the other way round, (in, out).
struct Conv1d {
  Tensor weight;
  Tensor bias;
  std::shared_ptr<LoraFactors> lora;

  Conv1d(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out);
  Tensor operator()(const Tensor& in) const;
};

/// torch.nn.Embedding.
struct Embedding {
  Tensor weight;
  TensorShare share;      ///< of tensor parallelism: `weight` is this rank's rows
  std::int64_t rows = 0;  ///< of the whole table

  Embedding() = default;
  Embedding(ParameterMaker& maker, const char* name, std::int64_t rows, std::int64_t width);
  Tensor operator()(Tensor indices) const {
    if (share.is_whole() && indices.tape().module_hooks() != nullptr)
      return tape::call_module(this, {&weight}, indices,
                               [this](const Tensor& x) { return tape::embedding(weight, x); });
    if (share.is_whole()) return tape::embedding(weight, std::move(indices));
    return tape::embedding_of_part(weight, indices, rows);
  }
};

/// torch.nn.LayerNorm over the last dimension.
struct LayerNorm {
  Tensor weight;
  Tensor bias;

  LayerNorm() = default;
  LayerNorm(ParameterMaker& maker, const char* name, std::int64_t width);
  Tensor operator()(Tensor x) const {
    return x.tape().module_hooks() == nullptr ? tape::layer_norm(std::move(x), weight, bias) : hooked(x);
  }

 private:
  Tensor hooked(const Tensor& x) const;
};

}  // namespace vramwise
