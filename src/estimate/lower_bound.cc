// Three moments of step_walk.cc: the loss of the first chunk, the backward pass of the last block that is not
// recomputed, and that of the last one that is. Rounding and the allocator only add to it. In floating point, where
// nothing overflows; the result is taken down by more than its rounding error.
#include "estimate/lower_bound.h"

#include <algorithm>

namespace vramwise {
namespace {

constexpr double kFp32 = 4;
constexpr double kInt64 = 8;

double number(std::int64_t value) { return static_cast<double>(value); }

struct Parts {
  double input = 0;    // of a block
  double saved = 0;    // by a block for its backward pass, beside its input
  double working = 0;  // beside it while its feed-forward part is differentiated
  double loss = 0;     // while the first chunk's loss is computed
  double head = 0;     // gradients that the head leaves for the backward pass
};

Parts parts_of(const DecoderConfig& c, const StepSettings& s, bool cuda) {
  const double e = number(precision_bytes(s.precision));
  const double tokens = number(s.micro_batch) * number(s.seq_len);
  const double hidden = number(c.hidden_size), inner = number(c.intermediate_size), vocab = number(c.vocab_size);
  const double q = number(c.n_heads) * number(c.head_dim), kv = number(c.n_kv_heads) * number(c.head_dim);
  const double rows = std::min(tokens, number(s.loss_chunk_tokens));
  Parts parts;
  parts.input = tokens * hidden * e;
  parts.saved = tokens * e * (2 * q + 2 * kv + hidden + 2 * inner) + tokens * kFp32 * (2 + number(c.n_heads));
  parts.working = (tokens * inner * (cuda ? 2 : 1) + hidden * inner) * e;
  parts.loss = tokens * hidden * e + vocab * hidden * kFp32 + rows * (hidden * e + vocab * (e + (cuda ? kFp32 : 0)));
  parts.head = tokens * hidden * e + (c.tie_embeddings ? vocab * hidden * e : 0);
  return parts;
}

}  // namespace

Bytes least_device_bytes(const DecoderConfig& config, const StepSettings& settings, const Target& target) {
  const bool cuda = target.backend == Backend::kCuda;
  const double e = number(precision_bytes(settings.precision));
  const bool has_master = e != kFp32 || (cuda && settings.offload_optimizer);
  const double states = target.holds_optimizer && !settings.offload_optimizer ? (has_master ? 3 : 2) : 0;
  const double lasting = number(parameter_count(config)) * (e + kFp32 + states * kFp32);
  const double batch = number(settings.micro_batch) * number(settings.seq_len) * 2 * kInt64;

  const double layers = number(config.n_layers);
  const double recomputed = number(std::clamp<std::int64_t>(settings.checkpointed_blocks, 0, config.n_layers));
  const Parts p = parts_of(config, settings, cuda);
  const double kept = (layers - recomputed) * p.saved;
  double most = kept + (layers + 1) * p.input + p.loss;
  if (recomputed < layers) most = std::max(most, kept + layers * p.input + p.head + p.working);
  if (recomputed > 0) most = std::max(most, p.saved + recomputed * p.input + p.head + p.working);

  const bool idle = cuda && target.sequences == 0;
  constexpr double kLargest = 1e18, kLess = 1 - 1e-9;
  const double sum = (lasting + (idle ? 0 : batch + most)) * kLess;
  return Bytes(static_cast<std::int64_t>(std::min(sum, kLargest))) + target.context;
}

}  // namespace vramwise
