// The elementwise and row-wise parts of the decoder for the CPU: one pass over memory each, fp32 inside.
//
// ATen composes these from several operators, each with a temporary of its operand's size; here a row is read once and
// written once. All functions work on a range of rows of contiguous row-major arrays and start no threads: the caller
// splits the rows. T is float, c10::BFloat16 or c10::Half. No torch beyond these two types.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>

namespace vramwise::cpu {

/// rows [begin, end) of something
struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// y = x * rstd * weight with rstd = 1 / sqrt(mean(x^2) + eps), which is stored. x, y: (rows, width); weight: (width).
template <typename T>
void rms_norm(const T* x, const T* weight, T* y, float* rstd, Rows rows, std::int64_t width, float eps);

/// y = x * rstd * weight with a known rstd.
template <typename T>
void rms_norm_again(const T* x, const T* weight, const float* rstd, T* y, Rows rows, std::int64_t width);

/// Writes dx (which may be dy itself) and adds the rows' part of the weight's gradient to dweight (width).
template <typename T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, float* dweight, Rows rows,
                       std::int64_t width);

/// out = silu(gate) * up; (rows, width) each. out may be gate or up.
template <typename T>
void swiglu(const T* gate, const T* up, T* out, Rows rows, std::int64_t width);

/// Replaces gate and up by their gradients.
template <typename T>
void swiglu_backward(const T* dout, T* gate, T* up, Rows rows, std::int64_t width);

/// Rotary positions, the pairs being (i, i + half) of each head. x and out (may be x): (rows, heads, 2 * half); row r
/// is at position r % seq_len of the tables (positions, half). direction 1 rotates, -1 rotates back (the gradient).
struct Rotation {
  const float* cosines = nullptr;
  const float* sines = nullptr;
  std::int64_t seq_len = 0;
  std::int64_t heads = 0;
  std::int64_t half = 0;
  float direction = 1;
};
template <typename T>
void rotate(const T* x, T* out, Rows rows, const Rotation& rotation);

/// nll[r] = -log softmax(logits[r])[targets[r]], 0 where the target is `ignored`. With `gradient_scale`, logits are
/// replaced by the gradient of gradient_scale * sum(nll). Targets must be in [0, vocab) or `ignored`.
struct NllTask {
  std::int64_t vocab = 0;
  std::int64_t ignored = -100;
  const float* gradient_scale = nullptr;
};
template <typename T>
void negative_log_likelihood(T* logits, const std::int64_t* targets, float* nll, Rows rows, const NllTask& task);

/// table[ids[t]] += gradient[t] for all tokens t, in columns [columns.begin, columns.end): threads split the columns.
/// gradient: (tokens, width), table: (vocab, width).
template <typename T>
void embedding_backward(const T* gradient, const std::int64_t* ids, float* table, std::int64_t tokens, Rows columns,
                        std::int64_t width);

/// sum[i] += x[i]
template <typename T>
void add_to_float(const T* x, float* sum, std::int64_t count);

}  // namespace vramwise::cpu
