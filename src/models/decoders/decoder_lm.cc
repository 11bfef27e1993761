// …ForCausalLM.forward, loss/loss_utils.py.

#include "models/decoders/decoder_lm.h"

#include "tape/ops/fused_head.h"
#include "tape/ops/fused_loss.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/softmax.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

void DecoderLm::make_head(const Head& head) {
  if (head.is_tied) {
    maker_.replaced({head.vocab_size, head.width});
    head_.weight = head.embeddings;
    head_.share = maker_.share_of("lm_head");
    head_.out = head.vocab_size;
    if (head.has_bias) head_.bias = maker_.parameter("lm_head", {head.vocab_size});
  } else {
    head_ = Linear(maker_, "lm_head", head.width, head.vocab_size, head.has_bias);
  }
  maker_.finish();
  parameters_ = maker_.tensors();
}

namespace {

// LigerForCausalLMLoss.
Tensor fused_causal_lm_loss(const Tensor& hidden, const Tensor& weight, const Tensor& labels) {
  const Tensor padded = pad_last(labels, 1);
  const Tensor shifted = contiguous(slice(padded, 1, 1, padded.size(1)));
  return fused_linear_cross_entropy(view(hidden, {-1, hidden.size(-1)}), weight, view(shifted, {-1}));
}

}  // namespace

Tensor DecoderLm::loss(const Tensor& input_ids, const Tensor& labels) {
  return call_module_by_name(input_ids.tape(), &tag_, [&] { return forward(input_ids, labels); });
}

Tensor DecoderLm::forward(const Tensor& input_ids, const Tensor& labels) {
  KeyValueCache cache;
  if (options_.repeater != nullptr) options_.repeater->set_kept(cache.kept());
  const Tensor hidden =
      call_module_by_name(input_ids.tape(), &base_tag_, [&] { return hidden_states(input_ids, cache); });
  if (options_.repeater != nullptr) options_.repeater->set_kept(nullptr);
  if (options_.loss_mark) hidden.tape().mark(*options_.loss_mark);
  if (options_.loss == LossKind::kChunked) {
    const std::int64_t length = hidden.size(1);
    return tiled_causal_lm_loss(slice(hidden, 1, 0, length - 1), head_.weight, slice(labels, 1, 1, length));
  }
  const Tensor kept = slice(hidden, 1, 0, hidden.size(1));  // logits_to_keep = 0: all of them
  if (options_.loss == LossKind::kLiger) return fused_causal_lm_loss(kept, head_.weight, labels);
  const Tensor logits = transformed(head_(kept));
  if (options_.logits != nullptr) *options_.logits = logits;
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
