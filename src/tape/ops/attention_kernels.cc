// Fused attention: what FlashAttention 2 (ATen/native/transformers/cuda/flash_attn/flash_api.cpp), the memory-efficient
// kernel (mem_eff_attention/kernel_backward.h) and cuDNN's graph take besides their results. Inputs are (batch, heads,
// length, dim); the kernels see them as (batch, length, heads, dim), without a copy.

#include "tape/ops/attention_kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/selective.h"

namespace vramwise::tape::internal {
namespace {

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return divide_up(a, b) * b; }

struct Problem {
  std::int64_t batch, heads, kv_heads, queries, keys, dim;

  Problem(const Tensor& query, const Tensor& key)
      : batch(query.size(0)),
        heads(query.size(1)),
        kv_heads(key.size(1)),
        queries(query.size(2)),
        keys(key.size(2)),
        dim(query.size(3)) {}
  /// Of the forward pass: a causal kernel skips the masked half.
  double flops(bool causal) const {
    return (causal ? 2.0 : 4.0) * static_cast<double>(batch * heads * queries) * static_cast<double>(keys * dim);
  }
};

// The layout of x as the kernel sees it, seen as (batch, heads, length, dim) again.
Tensor like_for_kernel(const Tensor& x) {
  Tensor seen = empty_like(transpose(detach(x), 1, 2));
  return seen.tape().alias(seen, x.sizes(), transpose(seen, 1, 2).strides(), 0);
}

// The gradient of repeated heads, summed over the repetitions: (batch, length, heads, dim) → kv_heads.
void sum_groups(const Tensor& expanded, std::int64_t kv_heads) {
  const Tensor groups =
      view(expanded, {expanded.size(0), expanded.size(1), kv_heads, expanded.size(2) / kv_heads, expanded.size(3)});
  reduce_into(groups, 1U << 3, groups.type());
}

Tensor empty_bshd(Tape& tape, const Problem& p, std::int64_t length, std::int64_t heads, DType type) {
  return tape.empty({p.batch, length, heads, p.dim}, type);
}

Tensor as_bhsd(const Tensor& x) {
  const Tensor seen = transpose(x, 1, 2);
  return x.tape().alias(x, seen.sizes(), seen.strides(), 0);
}

// How many parts flash attention cuts the keys into, to keep all multiprocessors busy.
std::int64_t flash_splits(const Problem& p, const Hardware& card) {
  const std::int64_t block = p.dim <= 64 ? 256 : (p.dim <= 128 ? 128 : 64);
  const std::int64_t key_blocks = divide_up(p.keys, block);
  const std::int64_t blocks = p.batch * p.heads * divide_up(p.queries, 64);
  const std::int64_t places = 2 * std::int64_t{card.sm_count};
  if (static_cast<float>(blocks) >= 0.8F * static_cast<float>(places)) return 1;
  const std::int64_t most = std::min({std::int64_t{128}, places, key_blocks});
  const auto eligible = [&](std::int64_t n) {
    return n == 1 || divide_up(key_blocks, n) != divide_up(key_blocks, n - 1);
  };
  const auto efficiency = [&](std::int64_t n) {
    const float waves = static_cast<float>(blocks * n) / static_cast<float>(places);
    return waves / std::ceil(waves);
  };
  float best = 0;
  for (std::int64_t n = 1; n <= most; ++n) {
    if (eligible(n)) best = std::max(best, efficiency(n));
  }
  for (std::int64_t n = 1; n <= most; ++n) {
    if (eligible(n) && static_cast<double>(efficiency(n)) >= 0.85 * static_cast<double>(best)) return n;
  }
  return 1;
}

std::int64_t flash_dim(std::int64_t dim) { return round_up(dim, 32) < 224 ? round_up(dim, 32) : 256; }

// What the backward kernel takes for itself: sums of rows and of dQ in float32, and the gradients of each query head's
// keys and values where heads share them.
void flash_backward_scratch(Tape& tape, const Problem& p, DType type) {
  const std::int64_t rows = round_up(p.queries, 128);
  const Scratch row_sums(tape, 4 * p.batch * p.heads * rows);
  const Scratch dq_sum(tape, 4 * p.batch * rows * p.heads * flash_dim(p.dim));
  if (p.kv_heads == p.heads) return;
  const Tensor dk_expanded = empty_bshd(tape, p, p.keys, p.heads, type);
  const Tensor dv_expanded = empty_bshd(tape, p, p.keys, p.heads, type);
  sum_groups(dk_expanded, p.kv_heads);
  sum_groups(dv_expanded, p.kv_heads);
}

void flash_backward(Backward& pass, bool causal) {
  Tape& tape = pass.tape();
  const Tensor key = pass.saved(0);
  const Tensor query = pass.saved(1);
  const Tensor value = pass.saved(2);
  const Tensor output = pass.saved(4);
  const Problem p(query, key);
  const Tensor grad = contiguous(transpose(pass.grad(), 1, 2));
  const Tensor out = contiguous(transpose(output, 1, 2));
  Tensor dq = like_for_kernel(query);
  Tensor dk = like_for_kernel(key);
  Tensor dv = like_for_kernel(value);
  flash_backward_scratch(tape, p, key.type());
  tape.count_attention(2.5 * p.flops(causal));
  pass.give(0, std::move(dq));
  pass.give(1, std::move(dk));
  pass.give(2, std::move(dv));
}

}  // namespace

Tensor flash_attention(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& options) {
  Tape& tape = query.tape();
  const Problem p(query, key);
  Tensor out;
  Tensor lse;
  Tensor seed;
  Tensor unused;
  make_or_take(tape, KeptOp::kAttention, {&out, &lse, &seed, &unused}, [&] {
    out = like_for_kernel(query);
    lse = tape.empty({p.batch, p.heads, p.queries}, DType::kFloat32);
    const std::int64_t splits = options.dropout > 0 ? 1 : flash_splits(p, tape.hardware());
    const std::int64_t parts = splits > 1 ? 4 * splits * p.batch * p.heads * p.queries : 0;
    Storage* lse_parts = parts > 0 ? tape.new_storage(parts) : nullptr;
    Storage* out_parts = parts > 0 ? tape.new_storage(parts * flash_dim(p.dim)) : nullptr;
    seed = tape.empty({2}, DType::kInt64);
    unused = tape.empty({}, DType::kInt64);
    if (options.dropout > 0) seed = tape.empty({2}, DType::kInt64);
    if (lse_parts != nullptr) tape.drop(lse_parts);
    if (out_parts != nullptr) tape.drop(out_parts);
    tape.count_attention(p.flops(options.is_causal));
  });
  record_all(tape, {&out}, {&query, &key, &value}, {&key, &query, &value, &lse, &out, &seed, &unused},
             [causal = options.is_causal](Backward& pass) { flash_backward(pass, causal); });
  lse.reset();
  seed.reset();
  unused.reset();
  return out;
}

namespace {

void flash2_backward(Backward& pass, bool causal) {
  Tape& tape = pass.tape();
  const Tensor query = pass.saved(0);
  const Tensor key = pass.saved(1);
  const Tensor value = pass.saved(2);
  const Problem p(transpose(query, 1, 2), transpose(key, 1, 2));
  Tensor dq = empty_like(query);
  Tensor dk = empty_like(key);
  Tensor dv = empty_like(value);
  flash_backward_scratch(tape, p, key.type());
  tape.count_attention(2.5 * p.flops(causal));
  pass.give(0, std::move(dq));
  pass.give(1, std::move(dk));
  pass.give(2, std::move(dv));
}

}  // namespace

Tensor flash_attention_2(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& options) {
  Tape& tape = query.tape();
  const Problem p(transpose(query, 1, 2), transpose(key, 1, 2));
  Tensor out = tape.empty(query.sizes(), query.type());
  Tensor lse = tape.empty({p.batch, p.heads, p.queries}, DType::kFloat32);
  Tensor seed;
  {
    const std::int64_t splits = options.dropout > 0 ? 1 : flash_splits(p, tape.hardware());
    const std::int64_t parts = splits > 1 ? 4 * splits * p.batch * p.heads * p.queries : 0;
    const Scratch lse_parts(tape, parts);
    const Scratch out_parts(tape, parts * flash_dim(p.dim));
    seed = tape.empty({2}, DType::kInt64);
  }
  tape.count_attention(p.flops(options.is_causal));
  record_all(tape, {&out}, {&query, &key, &value}, {&query, &key, &value, &out, &lse, &seed},
             [causal = options.is_causal](Backward& pass) { flash2_backward(pass, causal); });
  return out;
}

namespace {

// One compiled variant of the memory-efficient kernel's backward pass (mem_eff_attention/kernels/cutlassB.h): the first
// one whose shared memory the card has.
struct Variant {
  std::int64_t block_queries, block_keys, most_dim;
};

Variant backward_variant(const Hardware& card, DType type, std::int64_t dim, bool dropout) {
  constexpr std::int64_t kAny = 65536;
  const int capability = card.capability;
  // Cards with at least 164 KiB of shared memory a multiprocessor.
  const bool large = capability == 80 || capability == 90 || capability == 100 || capability == 103;
  if (dim <= 64) return {64, 64, dim <= 32 ? 32 : 64};
  if (!is_half(type))
    return large ? Variant{128, 64, dim <= 128 ? 128 : kAny} : Variant{64, 64, dim <= 128 ? 128 : kAny};
  if (dim <= 96 && (capability == 86 || capability == 89) && !dropout) return {128, 64, 96};
  if (dim > 128) return {128, 64, kAny};
  if (large) return {128, 128, 128};
  return capability < 80 ? Variant{128, 64, 128} : Variant{64, 64, 128};
}

std::int64_t backward_workspace_bytes(const Problem& p, const Variant& v, DType type) {
  const bool results_in_registers = is_half(type) && v.most_dim <= v.block_queries;
  const bool sums_apart = is_half(type) && !results_in_registers;
  std::int64_t splits = divide_up(p.keys, v.block_keys);
  if (p.batch * p.heads >= 256 && p.keys <= 2 * v.block_keys) splits = 1;
  if (sums_apart) splits = std::min(splits, 200 / (p.batch * p.heads));
  splits = std::max<std::int64_t>(splits, 1);
  const std::int64_t sums = sums_apart ? 2 * splits * v.block_keys * round_up(p.dim, v.block_queries) : 0;
  const std::int64_t tiles = divide_up(p.queries, v.block_queries) * divide_up(p.dim, v.block_keys);
  const std::int64_t floats = sums + tiles * (v.block_queries * v.block_keys + 4);
  return p.batch * p.heads * round_up(floats, 4) * 4;
}

void efficient_backward(Backward& pass, bool dropout, bool causal) {
  Tape& tape = pass.tape();
  const Tensor mask = pass.saved(0);
  const Tensor key = pass.saved(1);
  const Tensor query = pass.saved(2);
  const Tensor value = pass.saved(3);
  const Tensor output = pass.saved(5);
  const Problem p(query, key);
  const Tensor grad = contiguous(transpose(pass.grad(), 1, 2));
  Tensor dq = as_bhsd(empty_bshd(tape, p, p.queries, p.heads, query.type()));
  Tensor dk = as_bhsd(empty_bshd(tape, p, p.keys, p.kv_heads, query.type()));
  Tensor dv = as_bhsd(empty_bshd(tape, p, p.keys, p.kv_heads, query.type()));
  Tensor d_mask;
  if (pass.needs(3)) {
    const Tensor aligned = tape.empty({p.batch, p.heads, p.queries, round_up(p.keys, 16)}, mask.type());
    d_mask = tape.alias(aligned, mask.sizes(), aligned.strides(), 0);
  }
  {
    Tensor dk_expanded;
    Tensor dv_expanded;
    if (p.kv_heads != p.heads) {
      dk_expanded = empty_bshd(tape, p, p.keys, p.heads, query.type());
      dv_expanded = empty_bshd(tape, p, p.keys, p.heads, query.type());
    }
    Tensor delta;
    if (is_half(query.type())) {
      delta = tape.empty({p.batch, p.heads, p.queries}, DType::kFloat32);
    } else {
      const Tensor product = mul(grad, transpose(output, 1, 2));
      const Tensor row_sums = sum(product, {-1});
      delta = contiguous(transpose(row_sums, -2, -1));
    }
    Storage* workspace = tape.new_storage(
        backward_workspace_bytes(p, backward_variant(tape.hardware(), query.type(), p.dim, dropout), query.type()));
    if (dk_expanded.defined()) {
      sum_groups(dk_expanded, p.kv_heads);
      sum_groups(dv_expanded, p.kv_heads);
    }
    delta.reset();
    tape.drop(workspace);
    dv_expanded.reset();
    dk_expanded.reset();
  }
  tape.count_attention(2.5 * p.flops(causal));
  pass.give(0, std::move(dq));
  pass.give(1, std::move(dk));
  pass.give(2, std::move(dv));
  if (d_mask.defined()) pass.give(3, std::move(d_mask));
}

// The state of the random generator for a kernel without dropout: two numbers on the card that nobody sets.
struct PhiloxState {
  Tensor seed;
  Tensor offset;
};

PhiloxState philox_state(Tape& tape) {
  Tensor seed = tape.empty({}, DType::kInt64);
  return {std::move(seed), tape.empty({}, DType::kInt64)};
}

constexpr std::int64_t kCudnnCounters = 256;

// As the plans of cuDNN 9.24 say themselves: dQ and the row sums in float32, gradients of each query head's keys and
// values where heads share them, and counters. cuDNN documents no size.
std::int64_t cudnn_backward_workspace_bytes(const Problem& p, DType type) {
  const std::int64_t rows = p.batch * p.heads * p.queries;
  const std::int64_t of_head = p.batch * p.heads * p.keys * p.dim * size_of(type);
  const std::int64_t apart = p.kv_heads != p.heads ? 2 * round_up(of_head, 128) : 0;
  return 4 * rows * (p.dim + 1) + apart + kCudnnCounters;
}

}  // namespace

Tensor efficient_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                           const AttentionOptions& options) {
  Tape& tape = query.tape();
  const Problem p(query, key);
  const bool dropout = options.dropout > 0;
  PhiloxState state;
  Tensor out;
  Tensor lse;
  make_or_take(tape, KeptOp::kAttention, {&out, &lse, &state.seed, &state.offset}, [&] {
    if (!dropout) state = philox_state(tape);
    out = as_bhsd(empty_bshd(tape, p, p.queries, p.heads, query.type()));
    const bool wants = wants_grad(tape, {&query, &key, &value});
    lse = tape.empty({p.batch, p.heads, wants ? round_up(p.queries, 32) : 0}, DType::kFloat32);
    const bool keeps_sums = is_half(query.type()) && p.dim > 128;
    const Scratch sums(tape, keeps_sums ? 4 * out.numel() : 0);
    tape.count_attention(p.flops(options.is_causal));
  });
  record_all(tape, {&out}, {&query, &key, &value, &mask},
             {&mask, &key, &query, &value, &lse, &out, &state.offset, &state.seed},
             [dropout, causal = options.is_causal](Backward& pass) { efficient_backward(pass, dropout, causal); });
  lse.reset();
  state.seed.reset();
  state.offset.reset();
  return out;
}

Tensor cudnn_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                       const AttentionOptions& options) {
  Tape& tape = query.tape();
  const Problem p(query, key);
  PhiloxState state;
  Tensor out;
  Tensor lse;
  make_or_take(tape, KeptOp::kAttention, {&out, &lse, &state.seed, &state.offset}, [&] {
    state = philox_state(tape);
    out = like_for_kernel(query);
    const bool wants = wants_grad(tape, {&query, &key, &value});
    if (wants) lse = tape.empty({p.batch, p.heads, p.queries, 1}, DType::kFloat32);
    const Scratch workspace(tape, p.queries > 1 ? kCudnnCounters : 0);
    tape.count_attention(p.flops(options.is_causal));
  });
  const auto formula = [causal = options.is_causal](Backward& pass) {
    Tape& tape = pass.tape();
    const Tensor key = pass.saved(1);
    const Tensor query = pass.saved(2);
    const Tensor value = pass.saved(3);
    const Problem p(query, key);
    Tensor dq = empty_like(query);
    Tensor dk = empty_like(key);
    Tensor dv = empty_like(value);
    {
      const Scratch workspace(tape, cudnn_backward_workspace_bytes(p, query.type()));
    }
    tape.count_attention(2.5 * p.flops(causal));
    pass.give(0, std::move(dq));
    pass.give(1, std::move(dk));
    pass.give(2, std::move(dv));
  };
  record_all(tape, {&out}, {&query, &key, &value},
             {&mask, &key, &query, &value, &lse, &out, &state.offset, &state.seed}, formula);
  lse.reset();
  state.seed.reset();
  state.offset.reset();
  return out;
}

}  // namespace vramwise::tape::internal
