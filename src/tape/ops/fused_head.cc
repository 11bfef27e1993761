// As trl/kernels/chunked_logprob.py (ChunkedLogProbFunction) and trl/trainer/utils.py (add_fused_lm_head) of TRL 1.16
// have it. A tile has 4096 tokens and 32768 classes; its kernel folds logits into sums, and in the backward pass turns
// them into their gradients in place. Gradients are summed up in float32.

#include "tape/ops/fused_head.h"

#include <algorithm>

#include "tape/ops/index.h"
#include "tape/ops/masks.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

constexpr std::int64_t kTileTokens = 4096;
constexpr std::int64_t kTileClasses = 32768;

// Parts of hidden states and weight in the type that is computed in. The forward pass has no name for that of the
// weight.
struct Parts {
  Tensor tokens;
  Tensor classes;
};

// Runs `tile(tokens, classes)` for each tile.
template <typename Tile>
void for_each_tile(const Tensor& hidden, const Tensor& weight, DType computed, Parts& parts, Tile tile) {
  Tape& tape = hidden.tape();
  const auto rows_of = [&](const Tensor& x, std::int64_t count) {
    const Dims sizes = {count, x.size(1)};
    return to(tape.alias(x, sizes, x.strides(), 0), computed);
  };
  for (std::int64_t begin = 0; begin < hidden.size(0); begin += kTileTokens) {
    parts.tokens = rows_of(hidden, std::min(kTileTokens, hidden.size(0) - begin));
    for (std::int64_t first = 0; first < weight.size(0); first += kTileClasses) {
      parts.classes = rows_of(weight, std::min(kTileClasses, weight.size(0) - first));
      tile(parts.tokens.size(0), parts.classes.size(0));
    }
  }
}

Tensor tile_buffer(const Tensor& hidden, DType computed) {
  return hidden.tape().empty({std::min(hidden.size(0), kTileTokens), kTileClasses}, computed);
}

void multiply(Tape& tape, const ProductShape& shape, DType type) {
  tape.use_cublas();
  tape.count_product(shape, type);
}

struct LogProbabilities {
  Tensor of_targets;
  Tensor entropies;
  Tensor are_first;  ///< whether the target is the likeliest class
};

void log_probabilities_backward(Backward& pass, DType computed) {
  Tape& tape = pass.tape();
  const Tensor hidden = pass.saved(0);
  const Tensor weight = pass.saved(1);
  const std::int64_t width = hidden.size(1);
  Tensor for_hidden = pass.needs(0) ? tape.empty(hidden.sizes(), DType::kFloat32) : Tensor();
  Tensor for_weight = pass.needs(1) ? tape.empty(weight.sizes(), DType::kFloat32) : Tensor();
  const Tensor buffer = tile_buffer(hidden, computed);
  Parts parts;
  for_each_tile(hidden, weight, computed, parts, [&](std::int64_t tokens, std::int64_t classes) {
    multiply(tape, {.rows = tokens, .columns = classes, .inner = width}, computed);
    tape.count_kernel(2 * tokens * classes * size_of(computed));
    if (pass.needs(0)) multiply(tape, {.rows = tokens, .columns = width, .inner = classes}, computed);
    if (pass.needs(1)) multiply(tape, {.rows = classes, .columns = width, .inner = tokens}, computed);
  });
  if (pass.needs(0)) pass.give(0, to(for_hidden, hidden.type()));
  if (pass.needs(1)) pass.give(1, to(for_weight, weight.type()));
}

LogProbabilities log_probabilities(Tensor hidden, const Tensor& weight, Tensor targets) {
  const Drop drop(hidden, targets);
  Tape& tape = hidden.tape();
  const DType computed = tape.autocast() != nullptr ? tape.autocast()->type() : hidden.type();
  LogProbabilities out;
  Tensor log_sums;
  {
    const GradMode no_grad(tape, false);
    const Dims tokens = {hidden.size(0)};
    const auto statistic = [&] { return tape.empty(tokens, DType::kFloat32); };
    const Tensor largest = statistic();
    const Tensor sums = statistic();
    const Tensor sums_with_logits = statistic();
    const Tensor sums_of_squares = statistic();
    const Tensor logit_sums = statistic();
    const Tensor largest_before = statistic();
    const Tensor target_logits = statistic();
    const Tensor buffer = tile_buffer(hidden, computed);
    Parts parts;
    for_each_tile(hidden, weight, computed, parts, [&](std::int64_t rows, std::int64_t classes) {
      multiply(tape, {.rows = rows, .columns = classes, .inner = hidden.size(1)}, computed);
      parts.classes.reset();
      tape.count_kernel(rows * classes * size_of(computed));
    });
    log_sums = largest + log(sums);
    out.of_targets = target_logits - log_sums;
    out.entropies = log_sums - sums_with_logits / sums;
    const Tensor reaches = compare(target_logits, largest);
    out.are_first = logical_and(reaches, compare(target_logits, largest_before));
  }
  record_all(tape, {&out.of_targets, &out.entropies}, {&hidden, &weight},
             {&hidden, &weight, &targets, &log_sums, &out.entropies},
             [computed](Backward& pass) { log_probabilities_backward(pass, computed); });
  return out;
}

// mask.sum().clamp(min=1)
Tensor count_of(const Tensor& mask) {
  Tape& tape = mask.tape();
  const Tensor total = tape.empty({}, DType::kInt64);
  {
    const Tensor numbers = tape.empty(mask.sizes(), DType::kInt64);
    internal::reduce_into(numbers, internal::dim_bits({}, mask.rank()), DType::kInt64);
  }
  return empty_like(total);
}

}  // namespace

Tensor tiled_causal_lm_loss(Tensor hidden, const Tensor& weight, Tensor labels) {
  const Drop drop(hidden, labels);
  Tape& tape = hidden.tape();
  const Tensor mask = compare(labels, -100);
  Tensor chosen = masked_rows(hidden, mask);
  LogProbabilities each = log_probabilities(std::move(chosen), weight, masked_rows(labels, mask));
  const auto scattered = [&](const Tensor& x) {
    const Tensor zeros = tape.empty(mask.sizes(), x.type());
    return masked_scatter(zeros, mask, x);
  };
  const Tensor log_probs = scattered(each.of_targets);
  const Tensor entropies = scattered(each.entropies);
  const Tensor are_first = scattered(each.are_first);
  each = {};
  Tensor negative = neg(sum(log_probs));
  const Tensor count = count_of(mask);
  return div(std::move(negative), count);
}

}  // namespace vramwise::tape
