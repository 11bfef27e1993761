// How it is done: a row is widened to fp32 in a small scratch buffer (fp32 rows are used where they lie), worked on by
// the loops below, and narrowed again. Those loops are the only code that has to be fast; the compiler makes a version
// of each for AVX-512, AVX2 and the baseline and picks one when the program is loaded.
#include "nn/cpu_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <vector>

#include "base/check.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define VRAMWISE_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VRAMWISE_SIMD
#endif

namespace vramwise::cpu {
namespace {

using Index = std::int64_t;

// e^x to within 2 ulp: x = n ln 2 + r, a polynomial for e^r (Cephes expf), n into the exponent. std::exp would keep
// the loops scalar.
inline __attribute__((always_inline)) float exp_approx(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  x = x < -87.3F ? -87.3F : x;
  x = x > 88.0F ? 88.0F : x;
  const float n = (x * kLog2E + kRound) - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

VRAMWISE_SIMD float sum_of_squares(const float* x, Index n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

VRAMWISE_SIMD void scale_by(const float* x, const float* weight, float factor, float* y, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = x[i] * factor * weight[i];
}

VRAMWISE_SIMD float norm_gradient_sums(const float* dy, const float* x, const float* weight, float rstd, float* dweight,
                                       Index n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) {
    const float product = dy[i] * x[i];
    sum += product * weight[i];
    dweight[i] += product * rstd;
  }
  return sum;
}

VRAMWISE_SIMD void norm_gradient(const float* dy, const float* x, const float* weight, float rstd, float pull,
                                 float* dx, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = rstd * (dy[i] * weight[i]) - pull * x[i];
}

VRAMWISE_SIMD void gated(const float* gate, const float* up, float* out, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) out[i] = gate[i] / (1.0F + exp_approx(-gate[i])) * up[i];
}

VRAMWISE_SIMD void gated_gradient(const float* dout, const float* gate, const float* up, float* dgate, float* dup,
                                  Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const float g = gate[i];
    const float sigmoid = 1.0F / (1.0F + exp_approx(-g));
    const float through_gate = dout[i] * up[i];
    dup[i] = dout[i] * (g * sigmoid);
    dgate[i] = through_gate * (sigmoid * (1.0F + g * (1.0F - sigmoid)));
  }
}

VRAMWISE_SIMD void rotate_head(const float* x, const float* cosines, const float* sines, float direction, float* out,
                               Index half) {
#pragma omp simd
  for (Index i = 0; i < half; ++i) {
    const float first = x[i];
    const float second = x[i + half];
    const float sine = direction * sines[i];
    out[i] = first * cosines[i] - second * sine;
    out[i + half] = second * cosines[i] + first * sine;
  }
}

VRAMWISE_SIMD float largest(const float* x, Index n) {
  float most = x[0];
#pragma omp simd reduction(max : most)
  for (Index i = 0; i < n; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

VRAMWISE_SIMD float sum_of_exp(const float* x, float shift, Index n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += exp_approx(x[i] - shift);
  return sum;
}

VRAMWISE_SIMD void scaled_exp(const float* x, float shift, float factor, float* y, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = exp_approx(x[i] - shift) * factor;
}

VRAMWISE_SIMD void add(const float* x, float* sum, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) sum[i] += x[i];
}

VRAMWISE_SIMD void widen_bfloat16(const std::uint16_t* x, float* y, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = std::bit_cast<float>(static_cast<std::uint32_t>(x[i]) << 16);
}

// To nearest, ties to even; a NaN stays one.
VRAMWISE_SIMD void narrow_bfloat16(const float* x, std::uint16_t* y, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    y[i] = static_cast<std::uint16_t>(nan ? 0x7FC0U : rounded);
  }
}

const float* widen(const float* x, float* /*scratch*/, Index /*n*/) { return x; }
const float* widen(const c10::BFloat16* x, float* scratch, Index n) {
  widen_bfloat16(reinterpret_cast<const std::uint16_t*>(x), scratch, n);
  return scratch;
}
const float* widen(const c10::Half* x, float* scratch, Index n) {
  for (Index i = 0; i < n; ++i) scratch[i] = x[i];
  return scratch;
}

// Where a result of type T is worked out: in place for fp32, otherwise in the scratch row, to be narrowed afterwards.
float* target(float* y, float* /*scratch*/) { return y; }
template <typename T>
float* target(T* /*y*/, float* scratch) {
  return scratch;
}
void narrow(const float* /*scratch*/, float* /*y*/, Index /*n*/) {}
void narrow(const float* scratch, c10::BFloat16* y, Index n) {
  narrow_bfloat16(scratch, reinterpret_cast<std::uint16_t*>(y), n);
}
void narrow(const float* scratch, c10::Half* y, Index n) {
  for (Index i = 0; i < n; ++i) y[i] = scratch[i];
}

// Scratch rows of fp32, none for fp32 itself.
template <typename T>
class Scratch {
 public:
  Scratch(Index rows, Index width) : width_(std::is_same_v<T, float> ? 0 : width), data_(rows * width_) {}
  float* row(Index i) { return data_.data() + i * width_; }

 private:
  Index width_;
  std::vector<float> data_;
};

// Long rows are worked on in pieces that stay in the first-level cache.
constexpr Index kPiece = 1024;

template <typename Function>
void for_pieces(Rows rows, Index width, Function function) {
  for (Index at = rows.begin * width; at < rows.end * width; at += kPiece)
    function(at, std::min(kPiece, rows.end * width - at));
}

}  // namespace

template <typename T>
void rms_norm(const T* x, const T* weight, T* y, float* rstd, Rows rows, Index width, float eps) {
  Scratch<T> scratch(2, width);
  const float* w = widen(weight, scratch.row(0), width);
  for (Index r = rows.begin; r < rows.end; ++r) {
    const float* in = widen(x + r * width, scratch.row(1), width);
    rstd[r] = 1.0F / std::sqrt(sum_of_squares(in, width) / static_cast<float>(width) + eps);
    float* out = target(y + r * width, scratch.row(1));
    scale_by(in, w, rstd[r], out, width);
    narrow(out, y + r * width, width);
  }
}

template <typename T>
void rms_norm_again(const T* x, const T* weight, const float* rstd, T* y, Rows rows, Index width) {
  Scratch<T> scratch(2, width);
  const float* w = widen(weight, scratch.row(0), width);
  for (Index r = rows.begin; r < rows.end; ++r) {
    const float* in = widen(x + r * width, scratch.row(1), width);
    float* out = target(y + r * width, scratch.row(1));
    scale_by(in, w, rstd[r], out, width);
    narrow(out, y + r * width, width);
  }
}

// With n = x * rstd:  dx = rstd * (dy * w - n * mean(dy * w * n)),  dweight = sum over rows of dy * n.
template <typename T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const float* rstd, T* dx, float* dweight, Rows rows,
                       Index width) {
  Scratch<T> scratch(3, width);
  const float* w = widen(weight, scratch.row(0), width);
  for (Index r = rows.begin; r < rows.end; ++r) {
    const float* in = widen(x + r * width, scratch.row(1), width);
    const float* gradient = widen(dy + r * width, scratch.row(2), width);
    const float sum = norm_gradient_sums(gradient, in, w, rstd[r], dweight, width);
    const float pull = rstd[r] * rstd[r] * rstd[r] * sum / static_cast<float>(width);
    float* out = target(dx + r * width, scratch.row(2));
    norm_gradient(gradient, in, w, rstd[r], pull, out, width);
    narrow(out, dx + r * width, width);
  }
}

template <typename T>
void swiglu(const T* gate, const T* up, T* out, Rows rows, Index width) {
  Scratch<T> scratch(2, kPiece);
  for_pieces(rows, width, [&](Index at, Index n) {
    float* result = target(out + at, scratch.row(0));
    gated(widen(gate + at, scratch.row(0), n), widen(up + at, scratch.row(1), n), result, n);
    narrow(result, out + at, n);
  });
}

template <typename T>
void swiglu_backward(const T* dout, T* gate, T* up, Rows rows, Index width) {
  Scratch<T> scratch(3, kPiece);
  for_pieces(rows, width, [&](Index at, Index n) {
    const float* d = widen(dout + at, scratch.row(0), n);
    const float* g = widen(gate + at, scratch.row(1), n);
    const float* u = widen(up + at, scratch.row(2), n);
    float* dgate = target(gate + at, scratch.row(1));
    float* dup = target(up + at, scratch.row(2));
    gated_gradient(d, g, u, dgate, dup, n);
    narrow(dgate, gate + at, n);
    narrow(dup, up + at, n);
  });
}

template <typename T>
void rotate(const T* x, T* out, Rows rows, const Rotation& rotation) {
  const Index head_dim = 2 * rotation.half;
  Scratch<T> scratch(1, head_dim);
  for (Index r = rows.begin; r < rows.end; ++r) {
    const Index table = r % rotation.seq_len * rotation.half;
    for (Index head = 0; head < rotation.heads; ++head) {
      const Index at = (r * rotation.heads + head) * head_dim;
      float* result = target(out + at, scratch.row(0));
      rotate_head(widen(x + at, scratch.row(0), head_dim), rotation.cosines + table, rotation.sines + table,
                  rotation.direction, result, rotation.half);
      narrow(result, out + at, head_dim);
    }
  }
}

// An ignored row costs nothing and its gradient is zero. Twice e^x is cheaper than keeping a row of fp32 for 16 bits.
template <typename T>
void negative_log_likelihood(T* logits, const std::int64_t* targets, float* nll, Rows rows, const NllTask& task) {
  const Index vocab = task.vocab;
  Scratch<T> scratch(1, vocab);
  for (Index r = rows.begin; r < rows.end; ++r) {
    T* row = logits + r * vocab;
    nll[r] = 0;
    if (targets[r] == task.ignored) {
      if (task.gradient_scale != nullptr) std::fill(row, row + vocab, T(0));
      continue;
    }
    VRAMWISE_CHECK_THAT(targets[r] >= 0 && targets[r] < vocab, "a target token lies outside the vocabulary");
    const float* in = widen(row, scratch.row(0), vocab);
    const float shift = largest(in, vocab);
    const float sum = sum_of_exp(in, shift, vocab);
    nll[r] = std::log(sum) + shift - in[targets[r]];
    if (task.gradient_scale == nullptr) continue;
    float* out = target(row, scratch.row(0));
    scaled_exp(in, shift, *task.gradient_scale / sum, out, vocab);
    out[targets[r]] -= *task.gradient_scale;
    narrow(out, row, vocab);
  }
}

template <typename T>
void embedding_backward(const T* gradient, const std::int64_t* ids, float* table, Index tokens, Rows columns,
                        Index width) {
  const Index n = columns.end - columns.begin;
  Scratch<T> scratch(1, n);
  for (Index t = 0; t < tokens; ++t)
    add(widen(gradient + t * width + columns.begin, scratch.row(0), n), table + ids[t] * width + columns.begin, n);
}

template <typename T>
void add_to_float(const T* x, float* sum, Index count) {
  Scratch<T> scratch(1, kPiece);
  for_pieces({0, 1}, count, [&](Index at, Index n) { add(widen(x + at, scratch.row(0), n), sum + at, n); });
}

// NOLINTBEGIN(bugprone-macro-parentheses): T is a type
#define VRAMWISE_INSTANTIATE(T)                                                                            \
  template void rms_norm<T>(const T*, const T*, T*, float*, Rows, Index, float);                           \
  template void rms_norm_again<T>(const T*, const T*, const float*, T*, Rows, Index);                      \
  template void rms_norm_backward<T>(const T*, const T*, const T*, const float*, T*, float*, Rows, Index); \
  template void swiglu<T>(const T*, const T*, T*, Rows, Index);                                            \
  template void swiglu_backward<T>(const T*, T*, T*, Rows, Index);                                         \
  template void rotate<T>(const T*, T*, Rows, const Rotation&);                                            \
  template void negative_log_likelihood<T>(T*, const std::int64_t*, float*, Rows, const NllTask&);         \
  template void embedding_backward<T>(const T*, const std::int64_t*, float*, Index, Rows, Index);          \
  template void add_to_float<T>(const T*, float*, Index);
// NOLINTEND(bugprone-macro-parentheses)
VRAMWISE_INSTANTIATE(float)
VRAMWISE_INSTANTIATE(c10::BFloat16)
VRAMWISE_INSTANTIATE(c10::Half)
#undef VRAMWISE_INSTANTIATE

}  // namespace vramwise::cpu
