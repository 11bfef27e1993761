// What single operators of the trainer take on CUDA: asked of the tape (src/tape), which has the kernels' own rules,
// and played onto a timeline as often as the step runs the operator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "allocator/event.h"
#include "estimate/step.h"
#include "estimate/timeline.h"
#include "tape/hardware.h"

namespace vramwise {

/// Allocations and releases of one operator, in PyTorch's order.
class OpEvents {
 public:
  /// `events` of a tape; releases of what was allocated before them are left out.
  static OpEvents of(const EventList& events, std::size_t begin, std::size_t end);

  /// Takes and gives back; what stays is returned in the order of its allocation.
  std::vector<Timeline::Block> play(Timeline& timeline, Owner owner) const;
  /// The same, where nothing or one block stays.
  Timeline::Block play_one(Timeline& timeline, Owner owner) const;

 private:
  struct Event {
    std::int64_t bytes = 0;  ///< 0: a release
    std::uint32_t slot = 0;  ///< of the allocation, numbered from 0
  };
  std::vector<Event> events_;
  std::uint32_t slots_ = 0;
};

struct AttentionShape {
  std::int64_t batch = 0, seq = 0, heads = 0, kv_heads = 0, head_dim = 0;
};

/// Causal attention of fused kernels, of (tokens, heads * head_dim) queries.
struct AttentionEvents {
  OpEvents forward;          ///< stays: the result, and what is saved beside the inputs
  OpEvents forward_no_grad;  ///< stays: the result
  OpEvents backward;         ///< stays: the gradients of queries, keys and values
};
AttentionEvents attention_events(const AttentionShape& shape, Precision precision, const tape::Hardware& card);

/// Backward of the root-mean-square norm. Stays: the gradients of its input and its weight.
OpEvents norm_backward_events(std::int64_t rows, std::int64_t width, Precision precision, const tape::Hardware& card);

/// Backward of the embedding. Stays: the table's gradient.
OpEvents embedding_backward_events(std::int64_t tokens, std::int64_t vocab, std::int64_t width, Precision precision,
                                   const tape::Hardware& card);

/// A reduction of every row of an fp32 matrix to one number. Stays: the result.
OpEvents row_reduction_events(std::int64_t rows, std::int64_t columns, const tape::Hardware& card);

}  // namespace vramwise
