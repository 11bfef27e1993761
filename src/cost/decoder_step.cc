// The kernels of src/nn with their arithmetic and traffic; the order does not matter here, so kernels of a kind stand
// together. Traffic counts every operand once: caches keep what a kernel reads twice.
#include "cost/decoder_step.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "cost/work_time.h"

namespace vramwise {
namespace {

constexpr double kFp32 = 4;

// The dimensions as floating-point numbers: sizes beyond all machines are slow here, not an overflow.
struct Sizes {
  double tokens, sequences, seq, hidden, q, kv, inner, vocab, heads, head_dim, e;
};

Sizes sizes_of(const DecoderConfig& c, const StepSettings& s, std::int64_t sequences) {
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  return {.tokens = number(sequences) * number(s.seq_len),
          .sequences = number(sequences),
          .seq = number(s.seq_len),
          .hidden = number(c.hidden_size),
          .q = number(c.n_heads) * number(c.head_dim),
          .kv = number(c.n_kv_heads) * number(c.head_dim),
          .inner = number(c.intermediate_size),
          .vocab = number(c.vocab_size),
          .heads = number(c.n_heads),
          .head_dim = number(c.head_dim),
          .e = number(precision_bytes(s.precision))};
}

class Kernels {
 public:
  Kernels(const Sizes& sizes, Precision precision, bool cuda, const DeviceRates& rates)
      : times(rates),
        z_(sizes),
        cuda_(cuda),
        units_(rates.units),
        matmul_(rates.matmul_flop_s(precision)),
        attention_(rates.attention_flop_s(precision)) {}

  void product(double rows, double inner, double columns, double result_bytes) {
    const double flops =
        units_ > 0 ? tape::occupied_flops(1, rows, columns, inner, units_) : 2 * rows * inner * columns;
    times.add(flops, z_.e * (rows * inner + inner * columns) + result_bytes * rows * columns, matmul_);
  }
  void linear(double in, double out) { product(z_.tokens, in, out, z_.e); }
  /// Gradients of input and weight.
  void linear_backward(double in, double out) {
    product(z_.tokens, out, in, z_.e);
    product(in, z_.tokens, out, z_.e);
  }
  void norm(double rows) { times.move(2 * rows * z_.hidden * z_.e); }
  /// Reads the gradient and x twice, and makes the gradients of x and of the weight.
  void norm_backward(double rows) { times.move(5 * rows * z_.hidden * z_.e, cuda_ ? 3 : 1); }
  /// CUDA: products, sums and copies of halves in fp32 (src/nn/attention.cc); the CPU has one kernel.
  void rotation(double width) {
    if (cuda_) {
      times.move(z_.tokens * width * (3 * z_.e + 4 * kFp32), 6);
    } else {
      times.move(2 * z_.tokens * width * z_.e);
    }
  }
  /// Half of the scores are masked and never computed.
  void attention(double products) {
    const double flops = products * z_.sequences * z_.heads * z_.seq * z_.seq * z_.head_dim;
    times.add(flops, z_.e * z_.tokens * (2 * z_.q + 2 * z_.kv), attention_);
  }

  KernelTimes times;

 private:
  const Sizes& z_;
  bool cuda_;
  int units_;
  double matmul_;
  double attention_;
};

void forward_block(Kernels& k, const Sizes& z) {
  k.norm(z.tokens);
  k.linear(z.hidden, z.q);
  k.linear(z.hidden, z.kv);
  k.linear(z.hidden, z.kv);
  k.rotation(z.q);
  k.rotation(z.kv);
  k.attention(2);
  k.linear(z.q, z.hidden);
  k.norm(z.tokens);
  k.linear(z.hidden, z.inner);
  k.linear(z.hidden, z.inner);
  k.times.move(5 * z.tokens * z.inner * z.e, 2);  // silu(gate) * up
  k.linear(z.inner, z.hidden);
}

// FlashAttention's backward pass has five products where the forward pass has two.
void backward_block(Kernels& k, const Sizes& z) {
  k.times.move(5 * z.tokens * z.inner * z.e, 2);
  k.linear_backward(z.inner, z.hidden);
  k.times.move(11 * z.tokens * z.inner * z.e, 4);
  k.norm(z.tokens);
  k.linear_backward(z.hidden, z.inner);
  k.linear_backward(z.hidden, z.inner);
  k.norm_backward(z.tokens);
  k.times.move(3 * z.tokens * z.hidden * z.e);  // the sum of both paths
  k.linear_backward(z.q, z.hidden);
  k.attention(5);
  k.times.move(z.tokens * z.q * (z.e + 2 * kFp32), 2);  // what the backward kernel sums in fp32
  k.rotation(z.q);
  k.rotation(z.kv);
  k.norm(z.tokens);
  k.linear_backward(z.hidden, z.q);
  k.linear_backward(z.hidden, z.kv);
  k.linear_backward(z.hidden, z.kv);
  k.norm_backward(z.tokens);
  k.times.move(3 * z.tokens * z.hidden * z.e);
}

// The loss of one chunk (src/nn/loss.cc). The table's gradient is added in fp32: read and written for each chunk.
void head_chunk(Kernels& k, const Sizes& z, double rows) {
  k.norm(rows);
  k.product(rows, z.hidden, z.vocab, z.e);
  k.times.move(rows * z.vocab * (2 * z.e + 12 * kFp32), 17);
  k.product(z.vocab, rows, z.hidden, 2 * kFp32);
  k.product(rows, z.vocab, z.hidden, z.e);
  k.norm_backward(rows);
  k.times.move(2 * rows * z.hidden * z.e, 3);
}

// Each parameter's gradient is added to the sum: in 16 bits by a hook, in fp32 by autograd.
void add_gradients(Kernels& k, const DecoderConfig& c, const Sizes& z) {
  const double count = static_cast<double>(parameter_count(c));
  k.times.move(count * (2 * kFp32 + z.e), static_cast<double>(9 * c.n_layers + 2));
}

}  // namespace

DecoderPass::DecoderPass(const DecoderConfig& config, const StepSettings& settings, Backend backend,
                         const DeviceRates& rates)
    : config_(config), settings_(settings), backend_(backend), rates_(rates) {}

double DecoderPass::seconds(std::int64_t sequences) const {
  const Sizes z = sizes_of(config_, settings_, sequences);
  const auto kernels = [&] { return Kernels(z, settings_.precision, backend_ == Backend::kCuda, rates_); };
  const double layers = static_cast<double>(config_.n_layers);
  Kernels forward = kernels(), backward = kernels(), rest = kernels();
  forward_block(forward, z);
  backward_block(backward, z);

  rest.times.move(2 * z.tokens * z.hidden * z.e, 4);  // the batch and its embedding
  const double chunk = std::clamp(static_cast<double>(settings_.loss_chunk_tokens), 1.0, z.tokens);
  const double whole = std::floor(z.tokens / chunk);
  Kernels chunks = kernels();
  head_chunk(chunks, z, chunk);
  rest.times.append(chunks.times, whole);
  if (const double left = z.tokens - whole * chunk; left > 0) head_chunk(rest, z, left);
  rest.times.move(z.vocab * z.hidden * (2 * kFp32 + z.e), 2);  // zeroed at first, narrowed at last
  rest.times.move((z.tokens + 2 * z.vocab) * z.hidden * z.e + z.vocab * z.hidden * z.e, 8);  // the embedding's gradient
  add_gradients(rest, config_, z);

  KernelTimes all(rates_);
  all.append(forward.times, layers + static_cast<double>(std::min(settings_.checkpointed_blocks, config_.n_layers)));
  all.append(backward.times, layers);
  all.append(rest.times, 1);
  return all.seconds();
}

double seconds_of(const DecoderPass& pass, const ReplicaWork& work) {
  return seconds_of([&](std::int64_t sequences) { return pass.seconds(sequences); }, work);
}

double seconds_of(const std::function<double(std::int64_t)>& pass_seconds, const ReplicaWork& work) {
  if (work.sequences == 0) return 0;
  VRAMWISE_CHECK(work.passes >= 1 && work.passes <= work.sequences);
  const std::int64_t size = work.sequences / work.passes;
  const std::int64_t larger = work.sequences % work.passes;
  double seconds = static_cast<double>(work.passes - larger) * pass_seconds(size);
  if (larger > 0) seconds += static_cast<double>(larger) * pass_seconds(size + 1);
  return seconds;
}

double update_seconds(const DecoderConfig& config, const StepSettings& settings, const DeviceRates& holder,
                      const std::vector<DeviceRates>& others) {
  const double count = static_cast<double>(parameter_count(config));
  const double e = static_cast<double>(precision_bytes(settings.precision));
  double seconds = 0;
  for (const DeviceRates& other : others) {
    const double link = std::min(holder.pcie_byte_s, other.pcie_byte_s);
    seconds += kFp32 * count / link + 3 * kFp32 * count / holder.bandwidth_byte_s;  // gradients come, and are added
    seconds += e * count / link;                                                    // weights go
  }
  seconds += kFp32 * count / holder.bandwidth_byte_s;  // the norm
  const double narrowed = settings.precision == Precision::kFp32 ? 0 : kFp32 + e;
  if (settings.offload_optimizer) {
    // Pieces travel while others are computed. AdamW reads the gradient, and reads and writes three states.
    const double host = count * (7 * kFp32 + narrowed) / holder.host_byte_s;
    seconds += std::max(host, count * std::max(kFp32, e) / holder.pcie_byte_s);
  } else {
    seconds += count * (7 * kFp32 + narrowed) / holder.bandwidth_byte_s;
  }
  return seconds + kFp32 * count / holder.bandwidth_byte_s;  // gradients are zeroed
}

}  // namespace vramwise
