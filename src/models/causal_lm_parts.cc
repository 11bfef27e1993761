// Parts of transformers 5: integrations/sdpa_attention.py, cache_utils.py (DynamicLayer), loss/loss_utils.py, and what
// modeling_llama.py passes on to other architectures.

#include "models/causal_lm_parts.h"

#include "tape/ops/attention.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // the models read as in PyTorch

Tensor RmsNorm::operator()(const Tensor& x) const {
  Tensor hidden = to(x, DType::kFloat32);
  const Tensor variance = mean(pow(hidden, 2), {-1}, true);
  hidden = hidden * rsqrt(variance + 1e-6);
  return weight * to(hidden, x.type());
}

Rotary::Rotary(ParameterMaker& maker, std::int64_t head_dim)
    : inv_freq(maker.buffer({head_dim / 2}, DType::kFloat32)),
      original_inv_freq(maker.buffer({head_dim / 2}, DType::kFloat32)) {}

std::pair<Tensor, Tensor> Rotary::operator()(const Tensor& x, const Tensor& positions) const {
  const Tensor freqs = to(unsqueeze(positions, -1), DType::kFloat32) * inv_freq;
  const Tensor emb = cat({freqs, freqs}, -1);
  const Tensor cosines = tape::cos(emb) * 1.0;
  const Tensor sines = tape::sin(emb) * 1.0;
  Tensor cast_cosines = to(cosines, x.type());
  return {std::move(cast_cosines), to(sines, x.type())};
}

void KeyValueCache::update(Tensor& key, Tensor& value, bool is_sliding) {
  if (is_sliding) kept_.push_back(key.tape().empty({}, DType::kInt64));
  Tensor keys = cat({key}, -2);
  Tensor values = cat({value}, -2);
  kept_.push_back(keys);
  kept_.push_back(values);
  key = std::move(keys);
  value = std::move(values);
}

namespace {

Tensor rotate_half(const Tensor& x) {
  const std::int64_t half = x.size(-1) / 2;
  const Tensor first = slice(x, x.rank() - 1, 0, half);
  const Tensor second = slice(x, x.rank() - 1, half, x.size(-1));
  return cat({-second, first}, -1);
}

Tensor rotated(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  Tensor straight = x * cos;
  return std::move(straight) + rotate_half(x) * sin;
}

Tensor repeat_kv(const Tensor& x, std::int64_t times) {
  if (times == 1) return x;
  const std::int64_t b = x.size(0);
  const std::int64_t heads = x.size(1);
  const std::int64_t s = x.size(2);
  const std::int64_t dim = x.size(3);
  const Tensor repeated = expand(unsqueeze(x, 2), {b, heads, times, s, dim});
  return reshape(repeated, {b, heads * times, s, dim});
}

Attended attend_sdpa(const Tensor& query, Tensor key, Tensor value, const LayerContext& context) {
  AttentionOptions options{.dropout = context.dropout};
  if (context.groups > 1) {
    options.enable_gqa = !context.mask.defined() && query.size(3) <= 256;
    if (!options.enable_gqa) {
      key = repeat_kv(key, context.groups);
      value = repeat_kv(value, context.groups);
    }
  }
  options.is_causal = query.size(2) > 1 && !context.mask.defined();
  Tensor out = scaled_dot_product_attention(query, key, value, context.mask, options);
  out = reshape(out, {out.size(0), -1, query.size(2), value.size(3)});
  out = contiguous(transpose(out, 1, 2));
  return {std::move(out), {}};
}

Attended attend_eager(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context) {
  const Tensor keys = repeat_kv(key, context.groups);
  const Tensor values = repeat_kv(value, context.groups);
  Tensor weights = matmul(query, transpose(keys, 2, 3)) * 0.5;
  if (context.mask.defined()) weights = weights + context.mask;
  weights = to(softmax(weights, -1, DType::kFloat32), query.type());
  weights = dropout(weights, context.dropout);
  Tensor out = matmul(weights, values);
  out = contiguous(transpose(out, 1, 2));
  return {std::move(out), std::move(weights)};
}

}  // namespace

void mark_embeddings(const Tensor& embedded, const ForwardOptions& options) {
  if (options.checkpoints_layers && options.lora.is_on()) embedded->requires_grad = true;
}

std::pair<Tensor, Tensor> apply_rotary(const Tensor& query, const Tensor& key, const Tensor& cos, const Tensor& sin) {
  const Tensor cosines = unsqueeze(cos, 1);
  const Tensor sines = unsqueeze(sin, 1);
  Tensor turned = rotated(query, cosines, sines);
  return {std::move(turned), rotated(key, cosines, sines)};
}

Attended attend(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context) {
  return context.attention == Attention::kSdpa ? attend_sdpa(query, key, value, context)
                                               : attend_eager(query, key, value, context);
}

void DecoderLm::make_head(const Tensor& embeddings, bool ties_embeddings, std::int64_t width, std::int64_t vocab_size) {
  if (ties_embeddings) {
    head_.weight = embeddings;
  } else {
    head_ = Linear(maker_, "lm_head", width, vocab_size, false);
  }
  parameters_ = maker_.tensors();
}

Tensor DecoderLm::loss(const Tensor& input_ids, const Tensor& labels) {
  KeyValueCache cache;
  const Tensor hidden = hidden_states(input_ids, cache);
  if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
  const Tensor kept = slice(hidden, 1, 0, hidden.size(1));  // logits_to_keep = 0: all of them
  const Tensor logits = head_(kept);
  return causal_lm_loss(logits, labels);
}

Tensor causal_lm_loss(const Tensor& logits, const Tensor& labels) {
  Tensor wide = to(logits, DType::kFloat32);
  const Tensor padded = pad_last(labels, 1);
  Tensor shifted = contiguous(slice(padded, 1, 1, padded.size(1)));
  wide = view(wide, {-1, logits.size(-1)});
  shifted = view(shifted, {-1});
  return cross_entropy(wide, shifted);
}

}  // namespace vramwise
