// Masks are made by comparing rows of positions; what is alive meanwhile follows the functions of masking_utils.py one
// by one.

#include "models/parts/masks.h"

#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

// find_packed_sequence_indices: whether positions jump within a row. They don't, but it takes work to see that.
void look_for_packing(const Tensor& positions) {
  const Tensor first = slice(positions, 1, 0, 1) - 1;
  Tensor difference;
  {
    const Tensor with_first = cat({first, positions}, -1);
    const std::int64_t length = positions.size(1);
    difference = narrow(with_first, 1, 1, length) - narrow(with_first, 1, 0, length);
  }
  const Tensor packed = cumsum(compare(difference, 1), -1);
  all(compare(select(packed, 1, -1), 0));
}

// The rows and columns to be compared, each as (batch, 1, queries, keys) with sizes of one.
struct Indices {
  Tensor batch, heads, queries, keys;
};

Indices make_indices(Tape& tape, std::int64_t batch, std::int64_t length) {
  Indices made;
  made.batch = arange(tape, batch);
  made.heads = arange(tape, 1);
  made.queries = arange(tape, length) + 0;
  made.keys = arange(tape, length) + 0;
  return made;
}

Tensor causal(const Tensor& queries, const Tensor& keys) { return compare(keys, queries); }

// and_masks(sliding_window_overlay, causal_mask_function)
Tensor windowed(const Tensor& queries, const Tensor& keys, std::int64_t window) {
  Tensor result = full(queries.tape(), {}, DType::kBool);
  result = logical_and(result, compare(keys, queries - window));
  return logical_and(result, causal(queries, keys));
}

Tensor bool_mask(const MaskRequest& request) {
  const std::int64_t batch = request.embeddings.size(0);
  const std::int64_t length = request.embeddings.size(1);
  const Indices made = make_indices(request.embeddings.tape(), batch, length);
  const Tensor queries = view(made.queries, {1, 1, length, 1});
  const Tensor keys = view(made.keys, {1, 1, 1, length});
  const Tensor mask = request.window ? windowed(queries, keys, *request.window) : causal(queries, keys);
  return expand(mask, {batch, -1, length, length});
}

}  // namespace

Tensor causal_mask(const MaskRequest& request) {
  const std::int64_t length = request.embeddings.size(1);
  if (!request.has_cache && request.positions.defined())
    look_for_packing(expand(request.positions, {request.embeddings.size(0), -1}));
  if (request.attention == Attention::kFlash2) return {};  // its kernel knows windows
  const bool is_plain = !request.window || length < *request.window;
  if (request.attention == Attention::kSdpa && is_plain) return {};
  Tensor mask = bool_mask(request);
  if (request.attention == Attention::kSdpa) return mask;
  const Tensor zero = full(mask.tape(), {}, request.embeddings.type());
  mask = where(mask, zero, -1.0);
  return mask;
}

}  // namespace vramwise
