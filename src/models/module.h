// Building blocks of architectures on the tape: parameters with names, and torch.nn's layers.
//
// Parts of a model are plain structs made from a ParameterMaker; calling one is its forward(). Lifetimes follow
// Python's: a local variable lives until its function returns, an operand of an expression until the expression is
// computed, a module's arguments until the module returns. One expression must not make two tensors whose order is left
// open: C++ does not say which operand of `f(a) * g(b)` comes first, Python does; give the first one a name.
#pragma once

#include <cstdint>
#include <string>
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

/// Makes the parameters of a model in the order in which they come onto the device.
class ParameterMaker {
 public:
  ParameterMaker(tape::Tape& tape, DType type) : tape_(tape), type_(type) {}

  tape::Tape& tape() const { return tape_; }
  DType type() const { return type_; }
  void set_layer(int layer) { layer_ = layer; }
  /// `name` must be a literal.
  Tensor parameter(const char* name, const tape::Dims& sizes);
  Tensor buffer(const tape::Dims& sizes, DType type);

  const std::vector<NamedParameter>& made() const { return made_; }
  /// The tensors alone, as model.parameters() lists them.
  std::vector<Tensor> tensors() const;

 private:
  tape::Tape& tape_;
  DType type_;
  int layer_ = -1;
  std::vector<NamedParameter> made_;
};

/// torch.nn.Linear. weight: (out, in).
struct Linear {
  Tensor weight;
  Tensor bias;

  Linear() = default;
  Linear(ParameterMaker& maker, const char* name, std::int64_t in, std::int64_t out, bool has_bias);
  Tensor operator()(Tensor x) const { return tape::linear(std::move(x), weight, bias); }
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
