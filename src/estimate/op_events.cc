// A backward formula is reached through the tape's engine: the operator's inputs come out of a node that only marks the
// moment at which their gradients arrive.
#include "estimate/op_events.h"

#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "tape/engine.h"
#include "tape/ops/attention.h"
#include "tape/ops/index.h"
#include "tape/ops/norm.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/tape.h"

namespace vramwise {
namespace {

using tape::DType;
using tape::Tape;
using tape::Tensor;

constexpr std::uint32_t kGradientsArrive = 1;

DType type_of(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return DType::kFloat32;
    case Precision::kBf16:
      return DType::kBFloat16;
    case Precision::kFp16:
      return DType::kFloat16;
  }
  return DType::kFloat32;
}

void mark_arrival(tape::Backward& pass) {
  pass.tape().mark(kGradientsArrive);
  pass.give(0, pass.tape().empty({1}, DType::kFloat32));
}

/// Of `result`'s backward pass, up to the moment at which the inputs have their gradients.
OpEvents backward_events(Tape& tape, const Tensor& result, const tape::Dims& sizes, DType type) {
  const Tensor gradient = tape.empty(sizes, type);
  const std::size_t begin = tape.events().size();
  tape::backward(result, gradient);
  std::size_t end = begin;
  while (end < tape.events().size() && tape.events()[end].kind != EventKind::kMark) ++end;
  return OpEvents::of(tape.events(), begin, end);
}

}  // namespace

OpEvents OpEvents::of(const EventList& events, std::size_t begin, std::size_t end) {
  OpEvents op;
  std::unordered_map<AllocationId, std::uint32_t> slots;
  for (std::size_t i = begin; i < end; ++i) {
    const AllocationEvent& event = events[i];
    if (event.kind == EventKind::kAllocate && event.bytes > 0) {
      slots[event.id] = op.slots_;
      op.events_.push_back({.bytes = event.bytes, .slot = op.slots_++});
    } else if (event.kind == EventKind::kFree) {
      const auto slot = slots.find(event.id);
      if (slot == slots.end()) continue;
      op.events_.push_back({.bytes = 0, .slot = slot->second});
      slots.erase(slot);
    }
  }
  return op;
}

std::vector<Timeline::Block> OpEvents::play(Timeline& timeline, Owner owner) const {
  std::vector<Timeline::Block> blocks(slots_);
  for (const Event& event : events_) {
    if (event.bytes > 0) {
      blocks[event.slot] = timeline.take(owner, Bytes(event.bytes));
    } else {
      blocks[event.slot].release();
    }
  }
  std::erase_if(blocks, [](const Timeline::Block& block) { return !block.holds_memory(); });
  return blocks;
}

Timeline::Block OpEvents::play_one(Timeline& timeline, Owner owner) const {
  std::vector<Timeline::Block> blocks = play(timeline, owner);
  VRAMWISE_CHECK(blocks.size() <= 1);
  return blocks.empty() ? Timeline::Block() : std::move(blocks.front());
}

AttentionEvents attention_events(const AttentionShape& s, Precision precision, const tape::Hardware& card) {
  Tape tape(card);
  const DType type = type_of(precision);
  const std::int64_t tokens = s.batch * s.seq, width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  Tensor q = tape.empty({tokens, width}, type);
  Tensor k = tape.empty({tokens, kv_width}, type);
  Tensor v = tape.empty({tokens, kv_width}, type);
  const Tensor leaf = tape.parameter({1}, DType::kFloat32);
  tape::record_all(tape, {&q, &k, &v}, {&leaf}, {}, mark_arrival);
  const auto run = [&] {
    const auto heads = [&](const Tensor& x, std::int64_t n) {
      return tape::transpose(tape::view(x, {s.batch, s.seq, n, s.head_dim}), 1, 2);
    };
    const tape::AttentionOptions options{.is_causal = true, .enable_gqa = s.heads != s.kv_heads};
    return tape::scaled_dot_product_attention(heads(q, s.heads), heads(k, s.kv_heads), heads(v, s.kv_heads), {},
                                              options);
  };
  AttentionEvents events;
  {
    const tape::GradMode no_grad(tape, false);
    const std::size_t begin = tape.events().size();
    const Tensor out = run();
    events.forward_no_grad = OpEvents::of(tape.events(), begin, tape.events().size());
  }
  const std::size_t begin = tape.events().size();
  const Tensor out = run();
  events.forward = OpEvents::of(tape.events(), begin, tape.events().size());
  const Tensor mixed = tape::reshape(tape::transpose(out, 1, 2), {tokens, width});
  events.backward = backward_events(tape, mixed, {tokens, width}, type);
  return events;
}

OpEvents norm_backward_events(std::int64_t rows, std::int64_t width, Precision precision, const tape::Hardware& card) {
  Tape tape(card);
  const DType type = type_of(precision);
  Tensor x = tape.empty({rows, width}, type);
  Tensor weight = tape.empty({width}, type);
  const Tensor leaf = tape.parameter({1}, DType::kFloat32);
  tape::record_all(tape, {&x, &weight}, {&leaf}, {}, mark_arrival);
  const Tensor y = tape::rms_norm(x, weight);
  return backward_events(tape, y, {rows, width}, type);
}

OpEvents embedding_backward_events(std::int64_t tokens, std::int64_t vocab, std::int64_t width, Precision precision,
                                   const tape::Hardware& card) {
  Tape tape(card);
  const DType type = type_of(precision);
  Tensor table = tape.empty({vocab, width}, type);
  const Tensor ids = tape.empty({tokens}, DType::kInt64);
  const Tensor leaf = tape.parameter({1}, DType::kFloat32);
  tape::record_all(tape, {&table}, {&leaf}, {}, mark_arrival);
  const Tensor x = tape::embedding(table, ids);
  return backward_events(tape, x, {tokens, width}, type);
}

OpEvents row_reduction_events(std::int64_t rows, std::int64_t columns, const tape::Hardware& card) {
  Tape tape(card);
  const Tensor x = tape.empty({rows, columns}, DType::kFloat32);
  const std::size_t begin = tape.events().size();
  const Tensor out = tape::sum(x, {1}, true);
  return OpEvents::of(tape.events(), begin, tape.events().size());
}

}  // namespace vramwise
