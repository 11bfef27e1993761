// Modules of modeling_llama.py (transformers 5), op by op.

#include "models/parts/rotary.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

Rotary::Rotary(ParameterMaker& maker, std::int64_t dim, Kind kind, RotaryType type)
    : inv_freq(maker.init() == nullptr ? maker.buffer({(dim + 1) / 2}, DType::kFloat32) : computed(maker, dim, type)),
      original_inv_freq(maker.buffer({(dim + 1) / 2}, DType::kFloat32)),
      kind(kind) {}

Tensor over(const Tensor& x) {
  const Tensor reciprocal = empty_like(x);
  return reciprocal * 1.0;
}

// All types but the default one count in int64 first.
Tensor rotary_frequencies(Tape& tape, std::int64_t dim, RotaryType type) {
  const Dims half = {(dim + 1) / 2};
  const auto exponents = [&] {
    const DType counted = type == RotaryType::kDefault ? DType::kFloat32 : DType::kInt64;
    return to(tape.empty(half, counted), DType::kFloat32) / 1.0;
  };
  const Tensor powers = [&] {
    const Tensor exponent = exponents();
    Tensor power = empty_like(exponent);
    tape.empty({}, DType::kFloat64).reset();  // the base
    return power;
  }();
  return over(powers);
}

namespace {

Tensor bool_of(const Tensor& x) { return x.tape().empty(x.sizes(), DType::kBool); }

// _compute_llama3_parameters, line by line.
Tensor llama3_frequencies(const Tensor& frequencies) {
  const Tensor wavelengths = over(frequencies);
  Tensor result;
  {
    const Tensor is_long = bool_of(wavelengths);
    const Tensor divided = frequencies / 8.0;
    result = empty_like(frequencies);
  }
  const Tensor smooth = (over(wavelengths) - 1.0) / 3.0;
  const Tensor smoothed = [&] {
    const Tensor first = (1.0 - smooth) * result / 8.0;
    return first + smooth * result;
  }();
  const Tensor is_medium = [&] {
    const auto negated = [&] {
      const Tensor compared = bool_of(wavelengths);
      return bool_of(wavelengths);
    };
    const Tensor is_not_short = negated();
    const Tensor is_not_long = negated();
    return bool_of(wavelengths);
  }();
  result = empty_like(frequencies);
  return result;
}

}  // namespace

// Where a model is made on the device.
Tensor Rotary::computed(ParameterMaker& maker, std::int64_t dim, RotaryType type) {
  maker.end_module();
  const GradMode no_grad(maker.tape(), false);
  Tensor frequencies = rotary_frequencies(maker.tape(), dim, type);
  if (type == RotaryType::kLlama3) frequencies = llama3_frequencies(frequencies);
  maker.note_buffer(frequencies);
  return frequencies;
}

RotaryTable Rotary::operator()(const Tensor& x, const Tensor& positions) const {
  ModuleHooks* hooks = x.tape().module_hooks();
  if (hooks == nullptr) return forward(x, positions);
  hooks->enter(this, {});
  const Tensor seen = hooks->input(this, x);
  RotaryTable table = forward(seen, positions);
  hooks->leave(this);
  return table;
}

RotaryTable Rotary::forward(const Tensor& x, const Tensor& positions) const {
  const Tensor freqs = to(unsqueeze(positions, -1), DType::kFloat32) * inv_freq;
  const Tensor emb = kind == Kind::kPairs ? repeat_interleave(freqs, 2, -1) : cat({freqs, freqs}, -1);
  const Tensor cosines = tape::cos(emb) * 1.0;
  const Tensor sines = tape::sin(emb) * 1.0;
  if (kind == Kind::kFloat32Halves) return {cosines, sines};
  Tensor cast_cosines = to(cosines, x.type());
  return {std::move(cast_cosines), to(sines, x.type())};
}

Tensor rotate_half(const Tensor& x) {
  const std::int64_t half = x.size(-1) / 2;
  const Tensor first = slice(x, x.rank() - 1, 0, half);
  const Tensor second = slice(x, x.rank() - 1, half, x.size(-1));
  return cat({-second, first}, -1);
}

namespace {

Tensor rotated(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  Tensor straight = x * cos;
  return std::move(straight) + rotate_half(x) * sin;
}

}  // namespace

std::pair<Tensor, Tensor> apply_rotary(const Tensor& query, const Tensor& key, const RotaryTable& table) {
  const Tensor cosines = unsqueeze(table.cos, 1);
  const Tensor sines = unsqueeze(table.sin, 1);
  Tensor turned = rotated(query, cosines, sines);
  return {std::move(turned), rotated(key, cosines, sines)};
}

}  // namespace vramwise
