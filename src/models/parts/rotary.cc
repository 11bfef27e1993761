// Modules of modeling_llama.py (transformers 5), op by op.

#include "models/parts/rotary.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

Rotary::Rotary(ParameterMaker& maker, std::int64_t dim, Kind kind)
    : inv_freq(maker.init() == nullptr ? maker.buffer({(dim + 1) / 2}, DType::kFloat32) : computed(maker, dim)),
      original_inv_freq(maker.buffer({(dim + 1) / 2}, DType::kFloat32)),
      kind(kind) {}

// compute_default_rope_parameters, where a model is made on the device: 1 / base ** (arange(0, dim, 2) / dim).
Tensor Rotary::computed(ParameterMaker& maker, std::int64_t dim) {
  maker.end_module();
  Tape& tape = maker.tape();
  const Dims half = {(dim + 1) / 2};
  Tensor fractions = tape.empty(half, DType::kFloat32);
  fractions = tape.empty(half, DType::kFloat32);
  Tensor power = tape.empty(half, DType::kFloat32);
  tape.empty({}, DType::kFloat64).reset();  // the base
  fractions.reset();
  const Tensor reciprocal = tape.empty(half, DType::kFloat32);
  power = maker.buffer(half, DType::kFloat32);
  return power;
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
