// Which attention kernel runs, and what is prepared for it: padded heads, masks, and the fallback made of plain ops
// (ATen/native/transformers/attention.cpp and cuda/sdp_utils.cpp of PyTorch 2.14).

#include "tape/ops/attention.h"

#include "tape/ops/attention_kernels.h"
#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

bool fits_flash(const Tensor& query, const Tensor& key, const AttentionOptions& options, bool wants_grad) {
  const Hardware& card = query.tape().hardware();
  const std::int64_t dim = query.size(3);
  if (!is_half(query.type()) || card.capability < 80 || dim > 256) return false;
  if (options.is_causal && query.size(2) != key.size(2)) return false;
  const bool small_shared_memory = card.capability == 86 || card.capability == 89 || card.capability >= 120;
  if (!wants_grad || !small_shared_memory) return true;
  return !(dim > 192 && dim <= 224) && !(dim > 224 && options.dropout > 0);
}

bool fits_efficient(const Tensor& query) {
  const Hardware& card = query.tape().hardware();
  if (query.type() == DType::kBFloat16 && card.capability < 80) return false;
  const std::int64_t alignment = is_half(query.type()) ? 8 : (card.capability >= 80 ? 4 : 1);
  return query.size(3) % alignment == 0;
}

bool prefers_cudnn(const Tensor& query, const Tensor& key, const AttentionOptions& options, bool wants_grad) {
  const int capability = query.tape().hardware().capability;
  const std::int64_t dim = query.size(3);
  if (capability != 90 && capability != 100 && capability != 103) return false;
  if (!is_half(query.type()) || dim % 8 != 0 || options.dropout > 0) return false;
  if (key.size(2) == 1 || (capability >= 100 && query.size(2) == 1)) return false;
  return dim <= 128 || dim == 256 || (!wants_grad && dim < 256);
}

// A bool mask as numbers to add: 0 where attention is allowed.
Tensor mask_to_add(const Tensor& mask, DType type) {
  if (mask.type() != DType::kBool) return mask;
  Tape& tape = mask.tape();
  const Tensor allowed = tape.empty({}, type);
  const Tensor forbidden = tape.empty({}, type);
  return where(mask, allowed, forbidden);
}

// The memory-efficient kernel wants rows of masks to begin at multiples of 8 elements.
Tensor aligned_mask(const Tensor& mask, const Dims& wanted) {
  constexpr std::int64_t kAlign = 8;
  bool is_aligned = mask.stride(-1) == 1;
  for (int i = 0; i + 1 < mask.rank(); ++i) is_aligned = is_aligned && mask.strides()[i] % kAlign == 0;
  if (is_aligned) return expand(mask, wanted);
  const std::int64_t keys = mask.size(-1);
  const Tensor padded = pad_last(mask, kAlign - keys % kAlign);
  return expand(narrow(padded, padded.rank() - 1, 0, keys), wanted);
}

Tensor repeat_heads(const Tensor& x, std::int64_t heads) {
  if (x.size(1) == heads) return x;
  return repeat_interleave(x, heads / x.size(1), 1);
}

// Attention of plain ops (_scaled_dot_product_attention_math): 16-bit types are computed in float32.
Tensor plain_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                       const AttentionOptions& options) {
  Tape& tape = query.tape();
  const DType kind = accumulate_type(query.type());
  Tensor returned_weights;  // the second result, which nobody uses, outlives the rest
  const Tensor wide_query = to(query, kind);
  const Tensor wide_key = to(key, kind);
  const Tensor wide_value = to(value, kind);
  Tensor bias = mask;
  const Tensor scaled = mul(wide_query, 0.5);
  if (options.is_causal) {
    Tensor triangle;
    {
      const Tensor ones = tape.empty({query.size(2), key.size(2)}, DType::kBool);
      triangle = empty_like(ones);
    }
    bias = mask_to_add(triangle, scaled.type());
  }
  Tensor values;  // a tuple's second element goes last
  const Tensor keys = options.enable_gqa ? repeat_heads(wide_key, query.size(1)) : wide_key;
  values = options.enable_gqa ? repeat_heads(wide_value, query.size(1)) : wide_value;
  Tensor weights = matmul(scaled, mul(transpose(keys, -2, -1), 0.5));
  if (bias.defined() && tape.has_dispatch_mode()) {
    weights = std::move(weights) + bias;
  } else if (bias.defined()) {
    add_(weights, bias);
  }
  weights = safe_softmax(std::move(weights), -1);
  if (options.dropout > 0) weights = dropout(std::move(weights), options.dropout);
  returned_weights = to(weights, query.type());
  return to(matmul(weights, values), query.type());
}

}  // namespace

AttentionBackend choose_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                                  const AttentionOptions& options) {
  const bool wants = wants_grad(query.tape(), {&query, &key, &value});
  const bool mask_wants = mask.defined() && wants_grad(query.tape(), {&mask});  // cuDNN has no gradient of it
  if (!mask_wants && prefers_cudnn(query, key, options, wants)) return AttentionBackend::kCudnn;
  if (!mask.defined() && fits_flash(query, key, options, wants)) return AttentionBackend::kFlash;
  return fits_efficient(query) ? AttentionBackend::kEfficient : AttentionBackend::kMath;
}

Tensor scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor mask,
                                    const AttentionOptions& options) {
  const auto policy = AutocastPolicy::lower(query.tape(), {&query, &key, &value, &mask});
  const Drop drop(query, key, value, mask);
  const AttentionBackend backend = choose_attention(query, key, value, mask, options);
  Tensor bias = mask.defined() ? mask_to_add(mask, query.type()) : Tensor();
  switch (backend) {
    case AttentionBackend::kMath:
      return plain_attention(query, key, value, bias, options);
    case AttentionBackend::kCudnn:
      if (bias.defined()) bias = expand(std::move(bias), {query.size(0), query.size(1), query.size(2), key.size(2)});
      return internal::cudnn_attention(query, key, value, bias, options);
    case AttentionBackend::kEfficient:
      if (bias.defined()) {
        bias = aligned_mask(bias, {query.size(0), query.size(1), query.size(2), key.size(2)});
      }
      return internal::efficient_attention(query, key, value, bias, options);
    case AttentionBackend::kFlash:
      break;
  }
  const std::int64_t dim = query.size(3);
  if (dim % 8 == 0) return internal::flash_attention(query, key, value, options);
  const std::int64_t padding = 8 - dim % 8;
  const Tensor padded_query = pad_last(query, padding);
  const Tensor padded_key = pad_last(key, padding);
  const Tensor padded_value = pad_last(value, padding);
  Tensor out = internal::flash_attention(padded_query, padded_key, padded_value, options);
  return narrow(std::move(out), 3, 0, dim);
}

Tensor flash_attention_2(Tensor query, Tensor key, Tensor value, const AttentionOptions& options) {
  const Drop drop(query, key, value);
  const std::int64_t dim = query.size(3);
  if (dim % 8 == 0) return internal::flash_attention_2(query, key, value, options);
  const std::int64_t padding = 8 - dim % 8;
  const Tensor padded_query = pad_last(query, padding);
  const Tensor padded_key = pad_last(key, padding);
  const Tensor padded_value = pad_last(value, padding);
  return narrow(internal::flash_attention_2(padded_query, padded_key, padded_value, options), 3, 0, dim);
}

}  // namespace vramwise::tape
