// Building blocks of architectures on the tape: parameters with names, and torch.nn's layers.
//
// Parts of a model are plain structs made from a ParameterMaker; calling one is its forward(). Lifetimes follow
// Python's: a local variable lives until its function returns, an operand of an expression until the expression is
// computed, a module's arguments until the module returns. One expression must not make two tensors whose order is left
// open: C++ does not say which operand of `f(a) * g(b)` comes first, Python does; give the first one a name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/norm.h"
#include "tape/tape.h"

namespace vramwise {

using tape::DType;
using tape::Tensor;

/// A parameter and where it belongs: "self_attn.q_proj.weight" of layer 3. Layer −1 is outside the layers.
struct NamedParameter {
  const char* name;
  int layer;
  Tensor tensor;
};

/// LoRA as PEFT has it (tuners/lora/layer.py): everything is frozen, and the linear layers of these names get two
/// factors each, in float32. A transform of a model's parameters: no architecture knows of it.
struct LoraOptions {
  std::int64_t rank = 0;  ///< 0: no LoRA
  double dropout = 0;
  std::vector<std::string> targets;  ///< "q_proj", …; empty: all linear layers but the head

  bool is_on() const { return rank > 0; }
  bool adapts(std::string_view layer_name) const;
};

/// Makes the parameters of a model in the order in which they come onto the device.
class ParameterMaker {
 public:
  ParameterMaker(tape::Tape& tape, DType type, LoraOptions lora = {})
      : tape_(tape), type_(type), lora_(std::move(lora)) {}

  tape::Tape& tape() const { return tape_; }
  DType type() const { return type_; }
  void set_layer(int layer) { layer_ = layer; }
  /// `name` must be a literal.
  Tensor parameter(const char* name, const tape::Dims& sizes);
  /// A parameter that a module owns besides its children: it comes onto the device after theirs, but stands before
  /// them in model.parameters(), at `index` (count() when the module's first child was to be made).
  Tensor parameter_listed_at(std::size_t index, const char* name, const tape::Dims& sizes);
  std::size_t count() const { return made_.size(); }
  Tensor buffer(const tape::Dims& sizes, DType type);
  const LoraOptions& lora() const { return lora_; }
  /// A parameter that LoRA adds.
  Tensor adapter(const char* name, const tape::Dims& sizes);

  const std::vector<NamedParameter>& made() const { return made_; }
  /// The tensors alone, as model.parameters() lists them.
  std::vector<Tensor> tensors() const;

 private:
  tape::Tape& tape_;
  DType type_;
  LoraOptions lora_;
  int layer_ = -1;
  std::vector<NamedParameter> made_;
};

/// torch.nn.Linear. weight: (out, in). With LoRA the two factors: (rank, in) and (out, rank).
struct Linear {
  Tensor weight;
  Tensor bias;
  Tensor lora_a;
  Tensor lora_b;
  double lora_dropout = 0;

  Linear() = default;
  Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias);
  Tensor operator()(Tensor x) const { return lora_a.defined() ? adapted(x) : tape::linear(std::move(x), weight, bias); }

 private:
  Tensor adapted(const Tensor& x) const;
};

/// torch.nn.Embedding.
struct Embedding {
  Tensor weight;

  Embedding() = default;
  Embedding(ParameterMaker& maker, const char* name, std::int64_t rows, std::int64_t width);
  Tensor operator()(Tensor indices) const { return tape::embedding(weight, std::move(indices)); }
};

/// torch.nn.LayerNorm over the last dimension.
struct LayerNorm {
  Tensor weight;
  Tensor bias;

  LayerNorm() = default;
  LayerNorm(ParameterMaker& maker, const char* name, std::int64_t width);
  Tensor operator()(Tensor x) const { return tape::layer_norm(std::move(x), weight, bias); }
};

}  // namespace vramwise
