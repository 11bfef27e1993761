// integrations/sdpa_attention.py, eager_attention_forward of modeling_llama.py, cache_utils.py (DynamicLayer).

#include "models/parts/attention.h"

#include <utility>

#include "tape/ops/attention.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"
#include "tape/transforms/autocast.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

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
  if (context.caps_scores) {
    weights = weights / 50.0;
    weights = tape::tanh(weights);
    weights = weights * 50.0;
  }
  if (context.mask.defined()) weights = weights + context.mask;
  weights = to(softmax(weights, -1, DType::kFloat32), query.type());
  weights = dropout(weights, context.dropout);
  Tensor out = matmul(weights, values);
  out = contiguous(transpose(out, 1, 2));
  return {std::move(out), std::move(weights)};
}

// _is_packed_sequence: a single row of positions is looked at in each layer.
void look_for_packing(const Tensor& positions) {
  if (!positions.defined() || positions.size(0) != 1 || positions.size(1) == 1) return;
  Tensor increasing;
  {
    const Tensor range = arange(positions.tape(), positions.size(1));
    const Tensor least = tape::internal::reduce(positions, tape::internal::dim_bits({}, 2), false, DType::kInt64);
    increasing = range + least;
  }
  const Tensor distance = sum(abs(increasing - positions));
  compare(distance, 0);
}

// integrations/flash_attention.py: what rotary tables have widened goes back to 16 bits, and nothing is transposed.
Attended attend_flash2(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context) {
  Tensor q = transpose(query, 1, 2);
  Tensor k = transpose(key, 1, 2);
  Tensor v = transpose(value, 1, 2);
  if (Autocast* autocast = q.tape().autocast(); autocast != nullptr && q.type() == DType::kFloat32) {
    q = to(std::move(q), autocast->type());
    k = to(std::move(k), autocast->type());
    v = to(std::move(v), autocast->type());
  }
  if (query.size(0) == 1) look_for_packing(context.positions);
  return {flash_attention_2(q, k, v, {.dropout = context.dropout, .is_causal = true}), {}};
}

}  // namespace

Attended attend(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context) {
  if (context.attention == Attention::kFlash2) return attend_flash2(query, key, value, context);
  return context.attention == Attention::kSdpa ? attend_sdpa(query, key, value, context)
                                               : attend_eager(query, key, value, context);
}

Attended attend_cached(const Tensor& query, Tensor& key, Tensor& value, const LayerContext& context) {
  const std::int64_t length = query.size(2);
  if (context.cache != nullptr) context.cache->update(key, value, context.is_sliding);
  Attended out = attend(query, key, value, context);
  out.output = contiguous(reshape(out.output, {query.size(0), length, -1}));
  return out;
}

}  // namespace vramwise
