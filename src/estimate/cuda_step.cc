// Tensors are (rows, width) with their element size; a row is a token. `e` is the compute precision's. Blocks are
// members or locals in the order in which the trainer holds its tensors, so that scopes end as they do there.
#include "estimate/cuda_step.h"

#include <algorithm>
#include <utility>

namespace vramwise {
namespace {

using Block = Timeline::Block;

constexpr std::int64_t kFp32 = 4;
constexpr std::int64_t kInt64 = 8;
constexpr std::int64_t kScalar = 4;

// src/train: elements of another card's gradients that travel at once, and the rows of the gradients' norm.
constexpr std::int64_t kTransferPiece = std::int64_t{1} << 22;
constexpr std::int64_t kNormRow = 4096;

// Sizes beyond this are beyond any machine; they are cut off here rather than overflow.
constexpr std::int64_t kLargestTensor = std::int64_t{1} << 52;

Bytes tensor(std::int64_t rows, std::int64_t width, std::int64_t element_bytes) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(rows, width, &bytes) || __builtin_mul_overflow(bytes, element_bytes, &bytes))
    return Bytes(kLargestTensor);
  return Bytes(std::min(bytes, kLargestTensor));
}

tape::Hardware hardware_of(const Target& target) { return tape::Hardware::of(target.capability, target.sm_count); }

void release(std::vector<Block>& blocks) {
  for (Block& block : blocks) block.release();
  blocks.clear();
}

// What a block of the decoder holds for its backward pass. Its input belongs to the block before.
struct SavedBlock {
  Block attention_rstd;
  Block q, k, v;
  std::vector<Block> attention;  // its result, and what its kernel saves
  Block middle;                  // the residual stream between attention and feed-forward part
  Block mlp_rstd;
  Block gate, up;
};

}  // namespace

/// One run of a micro-batch.
class CudaPass {
 public:
  CudaPass(const CudaMicroBatch& of, Timeline& timeline, CudaLasting& lasting)
      : of_(of),
        timeline_(timeline),
        lasting_(lasting),
        tokens_(of.tokens_),
        e_(of.e_),
        hidden_(of.config_.hidden_size),
        q_(of.config_.n_heads * of.config_.head_dim),
        kv_(of.config_.n_kv_heads * of.config_.head_dim),
        inner_(of.config_.intermediate_size),
        vocab_(of.config_.vocab_size) {}

  void run();

 private:
  Block take(Owner owner, std::int64_t rows, std::int64_t width, std::int64_t bytes) {
    return timeline_.take(owner, tensor(rows, width, bytes));
  }
  Block activation(std::int64_t width) { return take(Owner::kActivations, tokens_, width, e_); }
  Block temporary(std::int64_t width) { return take(Owner::kTemporaries, tokens_, width, e_); }
  Block weight_gradient(std::int64_t rows, std::int64_t width) { return take(Owner::kTemporaries, rows, width, e_); }
  Block rstd(Owner owner) { return take(owner, tokens_, 1, kFp32); }
  Block scalar(Owner owner) { return timeline_.take(owner, Bytes(kScalar)); }

  /// A matrix product whose result was just taken.
  void matrix_product() {
    Block& workspace = in_backward_ ? lasting_.backward_workspace : lasting_.forward_workspace;
    if (!workspace.holds_memory()) workspace = timeline_.take(Owner::kWorkspaces, of_.workspace_bytes_);
  }

  void take_rope_tables();
  void rotation(std::int64_t width);
  Block forward_block(SavedBlock& saved, bool with_grad);
  void head_loss(Block& last);
  void loss_of_chunk(const CudaMicroBatch::Chunk& chunk);
  void backward_block(SavedBlock saved, Block& input, Block* sum);
  void backward_mlp(SavedBlock& saved, Block* sum);
  void backward_attention(SavedBlock& saved, Block& input, std::vector<Block>& results);

  const CudaMicroBatch& of_;
  Timeline& timeline_;
  CudaLasting& lasting_;
  std::int64_t tokens_, e_, hidden_, q_, kv_, inner_, vocab_;
  bool in_backward_ = false;

  // Of the head: gradients that it forms beside the loss, and the two numbers that it returns.
  Block dx_, dnorm_, dtable_, nll_sum_, scaled_;
};

// Made once, for as many tokens as a sequence has.
void CudaPass::take_rope_tables() {
  if (lasting_.rope_tables.holds_memory()) return;
  const Block cosines = take(Owner::kActivations, of_.seq_, of_.config_.head_dim / 2, kFp32);
  const Block sines = take(Owner::kActivations, of_.seq_, of_.config_.head_dim / 2, kFp32);
  lasting_.rope_tables = take(Owner::kActivations, of_.seq_, of_.config_.head_dim, kFp32);
}

void CudaPass::rotation(std::int64_t width) {
  const Block first = take(Owner::kTemporaries, tokens_, width / 2, kFp32);
  const Block second = take(Owner::kTemporaries, tokens_, width / 2, kFp32);
}

// Without gradients nothing that an operator saves outlives it.
Block CudaPass::forward_block(SavedBlock& saved, bool with_grad) {
  {
    Block normed = activation(hidden_);
    saved.attention_rstd = rstd(Owner::kActivations);
    saved.q = activation(q_);
    matrix_product();
    saved.k = activation(kv_);
    saved.v = activation(kv_);
    rotation(q_);
    rotation(kv_);
    normed.release();
    if (!with_grad) saved.attention_rstd.release();
  }
  const OpEvents& attention = with_grad ? of_.attention_.forward : of_.attention_.forward_no_grad;
  saved.attention = attention.play(timeline_, Owner::kActivations);
  saved.middle = activation(hidden_);
  {
    Block normed = activation(hidden_);
    saved.mlp_rstd = rstd(Owner::kActivations);
    saved.gate = activation(inner_);
    saved.up = activation(inner_);
    normed.release();
    if (!with_grad) saved.mlp_rstd.release();
  }
  const Block product = temporary(inner_);
  return activation(hidden_);
}

void CudaPass::loss_of_chunk(const CudaMicroBatch::Chunk& chunk) {
  const auto column = [&](std::int64_t bytes) { return take(Owner::kLoss, chunk.rows, 1, bytes); };
  Block nll;
  {
    const Block wide = take(Owner::kLoss, chunk.rows, vocab_, kFp32);
    const Block counts = column(1);
    const Block index = column(kInt64);
    chunk.row_reduction.play_one(timeline_, Owner::kLoss);  // the largest of a row
    const Block picked = column(kFp32);
    const Block total = chunk.row_reduction.play_one(timeline_, Owner::kLoss);
    nll = column(kFp32);
    column(kFp32);  // minus one at each target
    column(kFp32);  // the scale of each row
  }
  chunk.sum.play_one(timeline_, Owner::kLoss);
}

void CudaPass::head_loss(Block& last) {
  dx_ = take(Owner::kLoss, tokens_, hidden_, e_);
  Block norm = take(Owner::kLoss, 1, hidden_, kFp32);
  Block table = take(Owner::kLoss, vocab_, hidden_, kFp32);
  nll_sum_ = scalar(Owner::kLoss);
  Block logits;
  for (const CudaMicroBatch::Chunk& chunk : of_.chunks_) {
    const Block normed = take(Owner::kLoss, chunk.rows, hidden_, e_);
    const Block rstd = take(Owner::kLoss, chunk.rows, 1, kFp32);
    if (!logits.holds_memory()) logits = take(Owner::kLoss, chunk.rows, vocab_, e_);
    matrix_product();
    loss_of_chunk(chunk);
    Block dnormed = take(Owner::kLoss, chunk.rows, hidden_, e_);
    std::vector<Block> gradients = chunk.norm_backward.play(timeline_, Owner::kLoss);
    dnormed.release();
    release(gradients);
  }
  logits.release();
  if (e_ == kFp32) {
    dnorm_ = std::move(norm);
    dtable_ = std::move(table);
  } else {
    dnorm_ = take(Owner::kLoss, 1, hidden_, e_);
    dtable_ = take(Owner::kLoss, vocab_, hidden_, e_);
    table.release();
  }
  scaled_ = scalar(Owner::kLoss);
  last.release();
}

// While somebody else holds the gradient of the block's result, the sum of the two paths through the residual needs
// memory of its own (once; the sum is ours): `sum`.
void CudaPass::backward_mlp(SavedBlock& saved, Block* sum) {
  {
    Block product = temporary(inner_);
    Block dweight = weight_gradient(hidden_, inner_);
    matrix_product();
    temporary(inner_);  // the gradient that goes through the gate
    product.release();
  }
  Block normed = temporary(hidden_);
  rstd(Owner::kTemporaries);
  const Block dgate = weight_gradient(inner_, hidden_);
  const Block dup = weight_gradient(inner_, hidden_);
  Block dnormed = temporary(hidden_);
  normed.release();
  std::vector<Block> results = of_.norm_backward_.play(timeline_, Owner::kTemporaries);
  dnormed.release();
  saved.gate.release();
  saved.up.release();
  saved.middle.release();
  saved.mlp_rstd.release();
  if (sum != nullptr) *sum = temporary(hidden_);
  release(results);
}

void CudaPass::backward_attention(SavedBlock& saved, Block& input, std::vector<Block>& results) {
  Block dmixed = temporary(q_);
  weight_gradient(hidden_, q_);
  std::vector<Block> gradients = of_.attention_.backward.play(timeline_, Owner::kTemporaries);
  dmixed.release();
  saved.q.release();
  saved.k.release();
  saved.v.release();
  release(saved.attention);
  Block rotated_q = temporary(q_);
  rotation(q_);
  Block rotated_k = temporary(kv_);
  rotation(kv_);
  Block normed = temporary(hidden_);
  rstd(Owner::kTemporaries);
  results.push_back(weight_gradient(q_, hidden_));
  results.push_back(weight_gradient(kv_, hidden_));
  results.push_back(weight_gradient(kv_, hidden_));
  Block dnormed = temporary(hidden_);
  normed.release();
  for (Block& block : of_.norm_backward_.play(timeline_, Owner::kTemporaries)) results.push_back(std::move(block));
  dnormed.release();
  rotated_q.release();
  rotated_k.release();
  release(gradients);
  input.release();
  saved.attention_rstd.release();
}

void CudaPass::backward_block(SavedBlock saved, Block& input, Block* sum) {
  backward_mlp(saved, sum);
  std::vector<Block> results;
  backward_attention(saved, input, results);
  release(results);
}

void CudaPass::run() {
  timeline_.enter(Phase::kForward);
  const Block ids = take(Owner::kActivations, tokens_, 1, kInt64);
  const Block targets = take(Owner::kActivations, tokens_, 1, kInt64);
  take_rope_tables();
  const std::int64_t layers = of_.config_.n_layers;
  std::vector<Block> inputs;  // of the blocks; a block's result is the next one's input
  std::vector<SavedBlock> saved(static_cast<std::size_t>(layers));
  inputs.push_back(activation(hidden_));
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    SavedBlock block;
    const bool keep = layer >= of_.checkpointed_;
    inputs.push_back(forward_block(block, keep));
    if (keep) saved[static_cast<std::size_t>(layer)] = std::move(block);
  }
  head_loss(inputs.back());
  inputs.pop_back();

  timeline_.enter(Phase::kBackward);
  in_backward_ = true;
  const Block root = scalar(Owner::kTemporaries);
  scalar(Owner::kTemporaries);  // a gradient of zero for the loss that nobody differentiates
  dnorm_.release();
  if (!of_.config_.tie_embeddings) dtable_.release();
  for (std::int64_t layer = layers - 1; layer >= 0; --layer) {
    const auto at = static_cast<std::size_t>(layer);
    if (layer >= of_.checkpointed_) {
      backward_block(std::move(saved[at]), inputs[at], nullptr);
    } else {
      SavedBlock again;
      Block result = forward_block(again, true);
      Block kept_by_outer_graph;
      Block sum;
      backward_block(std::move(again), kept_by_outer_graph, &sum);
      result.release();
      dx_ = std::move(sum);
    }
    inputs.pop_back();
  }
  const Block dembedding = of_.embedding_backward_.play_one(timeline_, Owner::kTemporaries);
  dx_.release();
}

CudaMicroBatch::CudaMicroBatch(const DecoderConfig& config, const StepSettings& settings, const Target& target,
                               std::int64_t sequences)
    : config_(config),
      sequences_(sequences),
      seq_(settings.seq_len),
      tokens_(tensor(sequences, settings.seq_len, 1).count()),
      e_(precision_bytes(settings.precision)),
      checkpointed_(std::clamp<std::int64_t>(settings.checkpointed_blocks, 0, config.n_layers)),
      workspace_bytes_(target.workspaces / 2),
      attention_(attention_events({.batch = sequences,
                                   .seq = settings.seq_len,
                                   .heads = config.n_heads,
                                   .kv_heads = config.n_kv_heads,
                                   .head_dim = config.head_dim},
                                  settings.precision, hardware_of(target))),
      norm_backward_(norm_backward_events(tokens_, config.hidden_size, settings.precision, hardware_of(target))),
      embedding_backward_(embedding_backward_events(tokens_, config.vocab_size, config.hidden_size, settings.precision,
                                                    hardware_of(target))) {
  // After two chunks nothing new happens, but the last one may be smaller.
  const std::int64_t chunk = std::clamp<std::int64_t>(settings.loss_chunk_tokens, 1, tokens_);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(2, tokens_ / chunk); ++i) add_chunk(chunk, settings, target);
  if (tokens_ % chunk != 0) add_chunk(tokens_ % chunk, settings, target);
}

void CudaMicroBatch::add_chunk(std::int64_t rows, const StepSettings& settings, const Target& target) {
  const tape::Hardware card = hardware_of(target);
  chunks_.push_back({.rows = rows,
                     .row_reduction = row_reduction_events(rows, config_.vocab_size, card),
                     .sum = row_reduction_events(1, rows, card),
                     .norm_backward = norm_backward_events(rows, config_.hidden_size, settings.precision, card)});
}

void CudaMicroBatch::run(Timeline& timeline, CudaLasting& lasting) const { CudaPass(*this, timeline, lasting).run(); }

CudaUpdate::CudaUpdate(std::int64_t elements, const Target& target)
    : elements_(elements),
      has_peers_(target.has_peers),
      norm_of_rows_(row_reduction_events(elements / kNormRow, kNormRow, hardware_of(target))) {}

void CudaUpdate::run(Timeline& timeline) const {
  timeline.enter(Phase::kOptimizerStep);
  const auto temporary = [&](std::int64_t elements) {
    return timeline.take(Owner::kTemporaries, tensor(elements, 1, kFp32));
  };
  if (has_peers_) {
    temporary(std::min(elements_, kTransferPiece));
    temporary(elements_ % kTransferPiece);
  }
  {
    const Block of_rows = norm_of_rows_.play_one(timeline, Owner::kTemporaries);
    const Block of_rest = temporary(1);
  }
  const Block number = temporary(1);
  const Block divisor = temporary(1);
}

}  // namespace vramwise
