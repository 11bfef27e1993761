// Tensors are (rows, width) with their element size; a row is a token. `e` is the compute precision's. Source for the
// scratch of attention (PyTorch 2.14): ATen/native/cpu/FlashAttentionKernel.cpp.
#include "estimate/step_walk.h"

#include <algorithm>
#include <vector>

namespace vramwise {
namespace {

using Block = Timeline::Block;

constexpr std::int64_t kFp32 = 4;
constexpr std::int64_t kInt64 = 8;
constexpr std::int64_t kRandomState = 5056;  // of the CPU's generator

// Sizes beyond this are beyond any machine; they are cut off here rather than overflow.
constexpr std::int64_t kLargestTensor = std::int64_t{1} << 52;

Bytes tensor(std::int64_t rows, std::int64_t width, std::int64_t element_bytes) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(rows, width, &bytes) || __builtin_mul_overflow(bytes, element_bytes, &bytes))
    return Bytes(kLargestTensor);
  return Bytes(std::min(bytes, kLargestTensor));
}

// What a block of the decoder leaves for its backward pass. Its input belongs to the block before.
struct SavedBlock {
  Block attention_rstd;
  Block q, k, v;
  Block mixed;        // the result of the attention
  Block log_sum_exp;  // one fp32 a token and head
  Block middle;       // the residual stream between attention and feed-forward part
  Block mlp_rstd;
  Block gate, up;
};

class StepWalk {
 public:
  StepWalk(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target)
      : timeline_(timeline),
        threads_(std::max<std::int64_t>(1, target.threads)),
        seq_(settings.seq_len),
        tokens_(tensor(settings.micro_batch, settings.seq_len, 1).count()),
        hidden_(config.hidden_size),
        q_(config.n_heads * config.head_dim),
        kv_(config.n_kv_heads * config.head_dim),
        inner_(config.intermediate_size),
        vocab_(config.vocab_size),
        batch_heads_(settings.micro_batch * config.n_heads),
        head_dim_(config.head_dim),
        layers_(config.n_layers),
        has_scratch_(settings.precision == Precision::kBf16 && target.has_avx512),
        tied_(config.tie_embeddings),
        e_(precision_bytes(settings.precision)),
        checkpointed_(std::clamp<std::int64_t>(settings.checkpointed_blocks, 0, config.n_layers)),
        chunk_(std::clamp<std::int64_t>(settings.loss_chunk_tokens, 1, std::max<std::int64_t>(1, tokens_))) {}

  void run();

 private:
  Block activation(std::int64_t rows, std::int64_t width, std::int64_t bytes) {
    return timeline_.take(Owner::kActivations, tensor(rows, width, bytes));
  }
  Block temporary(std::int64_t rows, std::int64_t width, std::int64_t bytes) {
    return timeline_.take(Owner::kTemporaries, tensor(rows, width, bytes));
  }
  Block loss(std::int64_t rows, std::int64_t width, std::int64_t bytes) {
    return timeline_.take(Owner::kLoss, tensor(rows, width, bytes));
  }
  Block hidden_temporary() { return temporary(tokens_, hidden_, e_); }

  // Operators, forward: they leave in `saved` what they save and return what they give to the next.
  Block forward_block(SavedBlock& saved);
  void forward_attention(SavedBlock& saved);

  // Backward: take what they saved, and the gradient of their result.
  void backward_block(SavedBlock saved, Block& input, bool gradient_is_shared);
  void backward_mlp(SavedBlock& saved, Block& shared_sum, bool gradient_is_shared);
  void backward_attention(SavedBlock& saved, const Block& dmixed, Block& dq, Block& dk, Block& dv);
  void norm_backward();
  void weight_gradient_scratch();

  struct HeadGradients {
    Block x;
    Block norm;
    Block table;
  };
  HeadGradients head_loss();
  void table_gradient(Block& part);
  void embedding_backward();

  Timeline& timeline_;
  std::int64_t threads_;
  std::int64_t seq_, tokens_;
  std::int64_t hidden_, q_, kv_, inner_, vocab_, batch_heads_, head_dim_;
  std::int64_t layers_;
  bool has_scratch_;  ///< of weight gradients
  bool tied_;
  std::int64_t e_;
  std::int64_t checkpointed_, chunk_;
};

void StepWalk::forward_attention(SavedBlock& saved) {
  saved.mixed = activation(tokens_, q_, e_);
  saved.log_sum_exp = activation(batch_heads_, seq_, kFp32);
  const std::int64_t queries = std::min<std::int64_t>(seq_, seq_ >= 768 ? 256 : seq_ >= 192 ? 64 : 32);
  const std::int64_t keys = std::min<std::int64_t>(seq_, 512);
  const Block scores = temporary(threads_ * queries, keys + 2 + head_dim_, kFp32);
  const Block narrow = temporary(threads_ * queries, e_ == kFp32 ? 0 : keys, e_);
}

Block StepWalk::forward_block(SavedBlock& saved) {
  {
    const Block normed = hidden_temporary();
    saved.attention_rstd = activation(tokens_, 1, kFp32);
    saved.q = activation(tokens_, q_, e_);
    saved.k = activation(tokens_, kv_, e_);
    saved.v = activation(tokens_, kv_, e_);
  }
  forward_attention(saved);
  saved.middle = activation(tokens_, hidden_, e_);
  {
    const Block normed = hidden_temporary();
    saved.mlp_rstd = activation(tokens_, 1, kFp32);
    saved.gate = activation(tokens_, inner_, e_);
    saved.up = activation(tokens_, inner_, e_);
  }
  const Block product = temporary(tokens_, inner_, e_);
  return activation(tokens_, hidden_, e_);
}

// oneDNN splits the long sums of bf16 weight gradients over threads and gathers them; its scratch does not grow with
// the tokens. The figure was measured (AVX-512 BF16, 2 threads), as was that fp16 has none, nor bf16 on AVX2.
void StepWalk::weight_gradient_scratch() {
  if (!has_scratch_) return;
  const Block scratch = temporary(1, 2560 << 10, 1);
}

// The kernel writes over the gradient that it reads.
void StepWalk::norm_backward() { const Block partial = temporary(threads_ + 1, hidden_, kFp32); }

// While `gradient_is_shared`, somebody else holds the gradient of the block's result, so the sum of the two paths
// through a residual needs memory of its own (once; the sum is ours).
void StepWalk::backward_mlp(SavedBlock& saved, Block& shared_sum, bool gradient_is_shared) {
  {
    Block dweight;
    {
      Block product = temporary(tokens_, inner_, e_);
      dweight = temporary(hidden_, inner_, e_);
      weight_gradient_scratch();
    }
  }
  Block dnormed;
  Block dgate_weight;
  Block dup_weight;
  {
    const Block normed = hidden_temporary();
    dgate_weight = temporary(inner_, hidden_, e_);
    dup_weight = temporary(inner_, hidden_, e_);
    weight_gradient_scratch();
    dnormed = hidden_temporary();
  }
  norm_backward();
  saved.gate.release();
  saved.up.release();
  saved.middle.release();
  saved.mlp_rstd.release();
  if (gradient_is_shared) shared_sum = hidden_temporary();
}

void StepWalk::backward_attention(SavedBlock& saved, const Block& /*dmixed*/, Block& dq, Block& dk, Block& dv) {
  dq = temporary(tokens_, q_, e_);
  dk = temporary(tokens_, kv_, e_);
  dv = temporary(tokens_, kv_, e_);
  {
    const std::int64_t queries = std::min<std::int64_t>(seq_, seq_ >= 768 ? 256 : seq_ >= 192 ? 64 : 32);
    const std::int64_t keys = std::min<std::int64_t>(seq_, 512);
    const Block scores = temporary(threads_ * queries, 2 * keys, kFp32);
    const Block narrow = temporary(threads_ * queries, e_ == kFp32 ? 0 : 2 * keys, e_);
  }
  for (Block* block : {&saved.q, &saved.k, &saved.v, &saved.mixed, &saved.log_sum_exp}) block->release();
}

void StepWalk::backward_block(SavedBlock saved, Block& input, bool gradient_is_shared) {
  Block sum;
  backward_mlp(saved, sum, gradient_is_shared);
  Block dq;
  Block dk;
  Block dv;
  {
    const Block dmixed = temporary(tokens_, q_, e_);
    {
      const Block dweight = temporary(hidden_, q_, e_);
      weight_gradient_scratch();
    }
    backward_attention(saved, dmixed, dq, dk, dv);
  }
  const Block rotated_back_q = temporary(tokens_, q_, e_);
  const Block rotated_back_k = temporary(tokens_, kv_, e_);
  Block dnormed;
  Block dweights[3];
  {
    const Block normed = hidden_temporary();
    for (int i = 0; i < 3; ++i) dweights[i] = temporary(i == 0 ? q_ : kv_, hidden_, e_);
    weight_gradient_scratch();
    dnormed = hidden_temporary();
  }
  norm_backward();
  input.release();
  saved.attention_rstd.release();
}

// Summed in fp32; a 16-bit product of one chunk is formed first.
void StepWalk::table_gradient(Block& part) {
  if (e_ == kFp32) return;
  part.release();
  part = loss(vocab_, hidden_, e_);
  weight_gradient_scratch();
}

StepWalk::HeadGradients StepWalk::head_loss() {
  HeadGradients gradients;
  gradients.x = loss(tokens_, hidden_, e_);
  Block norm = loss(1, hidden_, kFp32);
  Block table = loss(vocab_, hidden_, kFp32);
  Block logits;
  Block part;
  // After two chunks nothing new happens.
  for (std::int64_t begin = 0; begin < std::min(tokens_, 2 * chunk_); begin += chunk_) {
    const std::int64_t rows = std::min(chunk_, tokens_ - begin);
    const Block normed = loss(rows, hidden_, e_);
    const Block rstd = loss(rows, 1, kFp32);
    if (begin == 0) logits = loss(rows, vocab_, e_);
    {
      const Block nll = loss(rows, 1, kFp32);
    }
    table_gradient(part);
    Block dnormed = loss(rows, hidden_, e_);
    norm_backward();
  }
  logits.release();
  if (e_ != kFp32) {
    Block narrow = loss(1, hidden_, e_);
    norm = std::move(narrow);
    narrow = loss(vocab_, hidden_, e_);
    table = std::move(narrow);
  }
  gradients.norm = std::move(norm);
  gradients.table = std::move(table);
  return gradients;
}

void StepWalk::embedding_backward() {
  Block sum = temporary(vocab_, hidden_, kFp32);
  if (e_ == kFp32) return;
  Block narrow = temporary(vocab_, hidden_, e_);
  sum = std::move(narrow);
}

void StepWalk::run() {
  timeline_.enter(Phase::kForward);
  const Block batch = activation(tokens_, 2, kInt64);
  const Block rope_tables = activation(seq_, head_dim_, kFp32);
  std::vector<Block> inputs;  // of the blocks; a block's result is the next one's input
  std::vector<Block> random_states;
  std::vector<SavedBlock> saved(static_cast<std::size_t>(layers_));
  inputs.push_back(activation(tokens_, hidden_, e_));
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    SavedBlock block;
    inputs.push_back(forward_block(block));
    if (layer >= checkpointed_) {
      saved[static_cast<std::size_t>(layer)] = std::move(block);
    } else {
      random_states.push_back(activation(1, kRandomState, 1));
    }
  }
  HeadGradients gradients = head_loss();
  inputs.pop_back();  // the head keeps gradients only

  timeline_.enter(Phase::kBackward);
  gradients.norm.release();
  if (!tied_) gradients.table.release();
  for (std::int64_t layer = layers_ - 1; layer >= 0; --layer) {
    const auto at = static_cast<std::size_t>(layer);
    if (layer >= checkpointed_) {
      backward_block(std::move(saved[at]), inputs[at], false);
    } else {
      SavedBlock again;
      const Block result = forward_block(again);
      Block kept_by_outer_graph;
      backward_block(std::move(again), kept_by_outer_graph, true);
    }
    inputs.pop_back();
  }
  embedding_backward();  // beside the table's gradient from the head
}

}  // namespace

void walk_step(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target) {
  StepWalk(timeline, config, settings, target).run();
}

}  // namespace vramwise
