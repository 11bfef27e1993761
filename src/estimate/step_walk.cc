// Tensors are (rows, width) with their element size; a row is a token. `e` is the compute precision's. Where CPU and
// CUDA differ it is in a temporary; sources for those of CUDA (PyTorch 2.14):
// ATen/native/transformers/cuda/flash_attn/flash_api.cpp, cuda/attention_backward.cu, ATen/native/cuda/Embedding.cu,
// layer_norm_kernel.cu. For the CPU's attention: ATen/native/cpu/FlashAttentionKernel.cpp.
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

std::int64_t rounded_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
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
  StepWalk(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target,
           Workspaces& workspaces)
      : timeline_(timeline),
        workspaces_(workspaces),
        workspace_bytes_(target.workspaces / 2),
        cuda_(target.backend == Backend::kCuda),
        threads_(std::max<std::int64_t>(1, target.threads)),
        batch_(settings.micro_batch),
        seq_(settings.seq_len),
        tokens_(tensor(settings.micro_batch, settings.seq_len, 1).count()),
        hidden_(config.hidden_size),
        q_(config.n_heads * config.head_dim),
        kv_(config.n_kv_heads * config.head_dim),
        inner_(config.intermediate_size),
        vocab_(config.vocab_size),
        heads_(config.n_heads),
        head_dim_(config.head_dim),
        grouped_(config.n_heads != config.n_kv_heads),
        layers_(config.n_layers),
        bf16_(settings.precision == Precision::kBf16),
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

  /// A matrix product whose result was just taken.
  void matrix_product() {
    Block& workspace = in_backward_ ? workspaces_.backward : workspaces_.forward;
    if (!workspace.holds_memory()) workspace = timeline_.take(Owner::kWorkspaces, workspace_bytes_);
  }

  // Operators, forward: they leave in `saved` what they save and return what they give to the next.
  Block forward_block(SavedBlock& saved);
  void forward_attention(SavedBlock& saved);
  void rotation(std::int64_t width);

  // Backward: take what they saved, and the gradient of their result.
  void backward_block(SavedBlock saved, Block& input, bool gradient_is_shared);
  void backward_mlp(SavedBlock& saved, Block& shared_sum, bool gradient_is_shared);
  void backward_attention(SavedBlock& saved, const Block& dmixed, Block& dq, Block& dk, Block& dv);
  void norm_backward(std::int64_t rows, Block& dnormed);
  void weight_gradient_scratch();

  struct HeadGradients {
    Block x;
    Block norm;
    Block table;
  };
  HeadGradients head_loss();
  void loss_of_chunk(std::int64_t rows);
  void table_gradient(Block& part);
  void embedding_backward();

  Timeline& timeline_;
  Workspaces& workspaces_;
  Bytes workspace_bytes_;
  bool in_backward_ = false;
  bool cuda_;
  std::int64_t threads_;
  std::int64_t batch_, seq_, tokens_;
  std::int64_t hidden_, q_, kv_, inner_, vocab_, heads_, head_dim_;
  bool grouped_;
  std::int64_t layers_;
  bool bf16_;
  bool tied_;
  std::int64_t e_;
  std::int64_t checkpointed_, chunk_;
};

// On CUDA the rotated halves are put together from two fp32 temporaries; the CPU's kernel has none.
void StepWalk::rotation(std::int64_t width) {
  if (!cuda_) return;
  const Block first = temporary(tokens_, width / 2, kFp32);
  const Block second = temporary(tokens_, width / 2, kFp32);
}

// CUDA: the flash kernel in 16 bits, the memory-efficient one in fp32. Both take grouped heads as they are.
void StepWalk::forward_attention(SavedBlock& saved) {
  saved.mixed = activation(tokens_, q_, e_);
  const std::int64_t rows = cuda_ && e_ == kFp32 ? rounded_up(seq_, 32) : seq_;
  saved.log_sum_exp = activation(batch_ * heads_, rows, kFp32);
  if (cuda_) return;
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
    matrix_product();
    saved.k = activation(tokens_, kv_, e_);
    saved.v = activation(tokens_, kv_, e_);
    rotation(q_);
    rotation(kv_);
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
// the tokens. The figure was measured (AVX-512, 2 threads), as was that fp16 has none.
void StepWalk::weight_gradient_scratch() {
  if (cuda_ || !bf16_) return;
  const Block scratch = temporary(1, 2560 << 10, 1);
}

// The CPU's kernel writes over the gradient that it reads.
void StepWalk::norm_backward(std::int64_t rows, Block& dnormed) {
  if (cuda_) {
    Block dx = temporary(rows, hidden_, e_);
    dnormed = std::move(dx);
  } else {
    const Block partial = temporary(threads_ + 1, hidden_, kFp32);
  }
}

// While `gradient_is_shared`, somebody else holds the gradient of the block's result, so the sum of the two paths
// through a residual needs memory of its own (once; the sum is ours).
void StepWalk::backward_mlp(SavedBlock& saved, Block& shared_sum, bool gradient_is_shared) {
  {
    Block dweight;
    {
      Block product = temporary(tokens_, inner_, e_);
      dweight = temporary(hidden_, inner_, e_);
      matrix_product();
      weight_gradient_scratch();
      if (cuda_) const Block through_gate = temporary(tokens_, inner_, e_);
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
  norm_backward(tokens_, dnormed);
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
  if (!cuda_) {
    const std::int64_t queries = std::min<std::int64_t>(seq_, seq_ >= 768 ? 256 : seq_ >= 192 ? 64 : 32);
    const std::int64_t keys = std::min<std::int64_t>(seq_, 512);
    const Block scores = temporary(threads_ * queries, 2 * keys, kFp32);
    const Block narrow = temporary(threads_ * queries, e_ == kFp32 ? 0 : 2 * keys, e_);
  } else {
    // Gradients of keys and values by query head, summed into dk and dv at the end; dq is summed in fp32.
    const Block dk_by_head = temporary(tokens_, grouped_ ? q_ : 0, e_);
    const Block dv_by_head = temporary(tokens_, grouped_ ? q_ : 0, e_);
    const std::int64_t padded = rounded_up(seq_, 128);
    const Block sums = temporary(batch_ * heads_, padded, kFp32);
    const Block dq_fp32 = temporary(tensor(batch_, padded, 1).count(), heads_ * rounded_up(head_dim_, 32), kFp32);
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
  rotation(q_);
  const Block rotated_back_k = temporary(tokens_, kv_, e_);
  rotation(kv_);
  Block dnormed;
  Block dweights[3];
  {
    const Block normed = hidden_temporary();
    for (int i = 0; i < 3; ++i) dweights[i] = temporary(i == 0 ? q_ : kv_, hidden_, e_);
    weight_gradient_scratch();
    dnormed = hidden_temporary();
  }
  norm_backward(tokens_, dnormed);
  input.release();
  saved.attention_rstd.release();
}

void StepWalk::loss_of_chunk(std::int64_t rows) {
  if (!cuda_) {
    const Block nll = loss(rows, 1, kFp32);
    return;
  }
  const Block log_probability = loss(rows, vocab_, kFp32);
  const Block small = loss(rows, 1, 1 + kInt64 + 4 * kFp32);  // which targets count, their index, NLL
}

// Summed in fp32. A 16-bit product of one chunk is formed first on the CPU; on CUDA the product is added in fp32 at
// once.
void StepWalk::table_gradient(Block& part) {
  if (cuda_ || e_ == kFp32) return;
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
    loss_of_chunk(rows);
    table_gradient(part);
    Block dnormed = loss(rows, hidden_, e_);
    norm_backward(rows, dnormed);
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

// Embedding.cu sorts the ids and sums in segments of about 10 tokens.
void StepWalk::embedding_backward() {
  constexpr std::int64_t kSegment = 10;
  Block sum;
  if (!cuda_) {
    sum = temporary(vocab_, hidden_, kFp32);
    if (e_ != kFp32) {
      Block narrow = temporary(vocab_, hidden_, e_);
      sum = std::move(narrow);
    }
    return;
  }
  sum = temporary(vocab_, hidden_, e_);
  if (tokens_ <= 3072) return;
  const Block sorted = temporary(tokens_, 4, kInt64);
  const Block segments = temporary(tokens_ / kSegment + std::min(tokens_, vocab_), rounded_up(hidden_, 32), kFp32);
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
    } else if (!cuda_) {
      random_states.push_back(activation(1, kRandomState, 1));
    }
  }
  HeadGradients gradients = head_loss();
  inputs.pop_back();  // the head keeps gradients only

  timeline_.enter(Phase::kBackward);
  in_backward_ = true;
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

void walk_step(Timeline& timeline, const DecoderConfig& config, const StepSettings& settings, const Target& target,
               Workspaces& workspaces) {
  StepWalk(timeline, config, settings, target, workspaces).run();
}

}  // namespace vramwise
