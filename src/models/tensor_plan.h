// Which layers are shared out over the ranks of tensor parallelism, and how: transformers' base_model_tp_plan and
// _tp_plan, a fact of an architecture. Layers that are not named are whole on every rank.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tape/dims.h"

namespace vramwise {

/// Styles of transformers 5 (distributed/tensor_parallel.py).
enum class TensorStyle : std::uint8_t {
  kWhole,
  kColwise,              ///< outputs are shared out
  kColwiseGatherOutput,  ///< and gathered again
  kRowwise,              ///< inputs are shared out, outputs are sums over the ranks
  kEmbeddingRowwise,     ///< rows of an embedding are shared out
};

struct TensorRule {
  std::string_view module;  ///< "self_attn.q_proj", of every layer
  TensorStyle style = TensorStyle::kWhole;
};

struct TensorPlan {
  std::vector<TensorRule> rules{};  ///< empty: the architecture has no plan, or it isn't modelled
  std::int64_t heads = 1;           ///< of keys and values: they are not divided

  bool is_known() const { return !rules.empty(); }
};

/// How a layer is shared out.
struct TensorShare {
  TensorStyle style = TensorStyle::kWhole;
  int ranks = 1;

  bool is_whole() const { return style == TensorStyle::kWhole; }
  /// Rank 0's part of a weight (out, in) or of a bias, which is the largest. A bias that is added to a sum is whole.
  tape::Dims part_of(tape::Dims sizes) const {
    const int dim = style == TensorStyle::kRowwise ? 1 : 0;
    if (!is_whole() && dim < sizes.size()) sizes[dim] = (sizes[dim] + ranks - 1) / ranks;
    return sizes;
  }
};

/// A plan as a run follows it.
struct TensorSharing {
  TensorPlan plan{};
  int ranks = 1;

  TensorShare of(std::string_view module) const {
    if (ranks == 1) return {};
    for (const TensorRule& rule : plan.rules)
      if (rule.module == module) return {rule.style, ranks};
    return {};
  }
};

}  // namespace vramwise
