// torchtune 0.6.1: modules/{attention,feed_forward,rms_norm,position_embeddings,transformer}.py,
// models/llama3_1/_position_embeddings.py, models/qwen2/_positional_embeddings.py, line by line.

#include "models/torchtune/parts.h"

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "models/parts/rotary.h"
#include "tape/ops/attention.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

// F.rms_norm has a kernel for operands of one type only. What it is made of otherwise adds epsilon in place; in C++
// what an expression makes lives until its end.
Tensor TuneRmsNorm::operator()(const Tensor& x) const {
  if (x.type() == scale.type() && x.type() == DType::kFloat32) return rms_norm(x, scale);
  const auto inverse_of = [](const Tensor& wide) {
    const Tensor squares = pow(wide, 2);
    const Tensor means = mean(squares, {-1}, true);
    return rsqrt(means);
  };
  const auto normalized = [&] {
    const Tensor wide = to(x, DType::kFloat32);
    const Tensor inverse = inverse_of(wide);
    Tensor result = wide * inverse;
    result = result * scale;
    return result;
  };
  return to(normalized(), x.type());
}

namespace {

// Llama3ScaledRoPE.apply_scaling looks at each frequency by itself; which ones are scaled hangs on their values.
Tensor scaled_frequencies(const Tensor& frequencies, const TuneDecoderConfig& config) {
  constexpr float kContext = 8192, kLow = kContext / 1, kHigh = kContext / 4;
  Tape& tape = frequencies.tape();
  std::vector<Tensor> scaled;
  Tensor wavelength, smooth;
  for (std::int64_t i = 0; i < frequencies.numel(); ++i) {
    const Tensor frequency = select(frequencies, 0, i);
    wavelength = over(frequency);
    const auto value =
        static_cast<float>(2 * std::numbers::pi *
                           std::pow(config.rope_base.value_or(500000),
                                    2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim())));
    tape.empty({}, DType::kBool).reset();
    if (value < kHigh) {
      scaled.push_back(frequency);
      continue;
    }
    tape.empty({}, DType::kBool).reset();
    if (value > kLow) {
      scaled.push_back(frequency / 8.0);
      continue;
    }
    smooth = (over(wavelength) - 1.0) / 3.0;
    Tensor first = (1.0 - smooth) * frequency / 8.0;
    scaled.push_back(std::move(first) + smooth * frequency);
  }
  return tape.empty(frequencies.sizes(), DType::kFloat32);
}

}  // namespace

TuneRotary::TuneRotary(ParameterMaker& maker, const TuneDecoderConfig& config) : is_qwen(config.is_qwen()) {
  const GradMode no_grad(maker.tape(), false);
  const Tensor frequencies = rotary_frequencies(maker.tape(), config.head_dim(), RotaryType::kLinear);
  theta = config.scales_positions() ? scaled_frequencies(frequencies, config) : frequencies;
  const Tensor positions = maker.tape().empty({config.max_positions}, DType::kFloat32);
  const Tensor angles = unsqueeze(positions, 1) * theta;
  if (is_qwen) {
    const Tensor freqs = tape::cat({angles, angles}, -1);
    Tensor cosines = tape::cos(freqs);
    cache = tape::cat({std::move(cosines), tape::sin(freqs)}, -1);
  } else {
    Tensor cosines = tape::cos(angles);
    cache = tape::stack({std::move(cosines), tape::sin(angles)}, -1);
  }
  maker.note_buffer(theta);
  maker.note_buffer(cache);
}

Tensor TuneRotary::operator()(const Tensor& x) const { return is_qwen ? by_halves(x) : by_pairs(x); }

Tensor TuneRotary::by_pairs(const Tensor& x) const {
  const std::int64_t length = x.size(1);
  Tensor table = slice(cache, 0, 0, length);
  const Tensor shaped = reshape(to(x, DType::kFloat32), {x.size(0), length, x.size(2), -1, 2});
  table = view(table, {-1, length, 1, shaped.size(3), 2});
  Tensor out;
  {
    const auto part = [&](int of_x, int of_table) { return select(shaped, -1, of_x) * select(table, -1, of_table); };
    std::vector<Tensor> parts;
    {
      const Tensor a = part(0, 0);
      const Tensor b = part(1, 1);
      parts.push_back(a - b);
    }
    {
      const Tensor a = part(1, 0);
      const Tensor b = part(0, 1);
      parts.push_back(a + b);
    }
    out = stack(std::move(parts), -1);
  }
  out = flatten(out, 3);
  return to(out, x.type());
}

Tensor TuneRotary::by_halves(const Tensor& x) const {
  const std::int64_t length = x.size(1), dim = x.size(3);
  Tensor table = slice(cache, 0, 0, length);
  table = view(table, {-1, length, 1, 2 * dim});
  const Tensor cosines = to(slice(table, -1, 0, dim), x.type());
  const Tensor sines = to(slice(table, -1, dim, 2 * dim), x.type());
  const Tensor first = slice(x, -1, 0, dim / 2);
  const Tensor second = slice(x, -1, dim / 2, dim);
  const Tensor rotated = cat({-second, first}, -1);
  Tensor straight = x * cosines;
  return std::move(straight) + rotated * sines;
}

TuneLayer::TuneLayer(ParameterMaker& m, const TuneDecoderConfig& c, const TuneRotary& rotary)
    : q_proj(m, "attn.q_proj", c.width, c.heads * c.head_dim(), c.is_qwen()),
      k_proj(m, "attn.k_proj", c.width, c.kv_heads * c.head_dim(), c.is_qwen()),
      v_proj(m, "attn.v_proj", c.width, c.kv_heads * c.head_dim(), c.is_qwen()),
      output_proj(m, "attn.output_proj", c.width, c.width, false),
      w1(m, "mlp.w1", c.width, c.inner_width, false),
      w2(m, "mlp.w2", c.inner_width, c.width, false),
      w3(m, "mlp.w3", c.width, c.inner_width, false),
      sa_norm{m.parameter("sa_norm", {c.width})},
      mlp_norm{m.parameter("mlp_norm", {c.width})},
      config(&c),
      rotary(&rotary) {}

Tensor TuneLayer::operator()(const Tensor& x) const {
  Tensor h = sa_norm(x);
  const Tensor attn_out = attend(h);
  h = attn_out + x;
  const Tensor mlp_out = feed_forward(mlp_norm(h));
  return h + mlp_out;
}

// Keys and values of a group of queries are copied for each of them.
Tensor TuneLayer::for_each_query(const Tensor& x) const {
  const std::int64_t groups = config->heads / config->kv_heads;
  if (groups == 1) return x;
  return flatten(expand(unsqueeze(x, 2), {x.size(0), config->kv_heads, groups, -1, config->head_dim()}), 1, 2);
}

Tensor TuneLayer::attend(const Tensor& x) const {
  const Dims heads = {x.size(0), x.size(1), -1, config->head_dim()};
  Tensor q = q_proj(x);
  q = view(q, heads);
  q = (*rotary)(q);
  q = transpose(q, 1, 2);
  Tensor k = k_proj(x);
  Tensor v = v_proj(x);
  k = view(k, heads);
  v = view(v, heads);
  k = (*rotary)(k);
  k = for_each_query(transpose(k, 1, 2));
  v = for_each_query(transpose(v, 1, 2));
  Tensor output = scaled_dot_product_attention(q, k, v, {}, {.is_causal = true});
  output = view(contiguous(transpose(output, 1, 2)), {x.size(0), x.size(1), -1});
  return output_proj(output);
}

Tensor TuneLayer::feed_forward(const Tensor& x) const {
  Tensor h = silu(w1(x));
  h = h * w3(x);
  h = w2(h);
  return h;
}

}  // namespace vramwise
