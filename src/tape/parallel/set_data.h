// `x.data = …` of PyTorch, by which a tensor gets other memory that whoever holds it sees, and flat copies.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tape/ops/views.h"
#include "tape/tape.h"

namespace vramwise::tape {

/// A part of `flat` from the element at `offset` on, in the shape of x.
inline void set_data(const Tensor& x, const Tensor& flat, std::int64_t offset) {
  ++flat->storage->references;
  Storage* old = std::exchange(x->storage, flat->storage);
  x->offset = flat->offset + offset;
  x->strides = contiguous_strides(x.sizes());
  x->is_contiguous = true;
  x.tape().drop(old);
}

inline Tensor flattened(const Tensor& x) { return x.tape().view(x, {x.numel()}, {1}, x->offset); }

/// torch._utils._flatten_dense_tensors: of one tensor a view.
inline Tensor flattened(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> flat;
  flat.reserve(tensors.size());
  for (const Tensor& tensor : tensors) flat.push_back(flattened(tensor));
  return flat.size() == 1 ? flat.front() : cat(std::move(flat), 0);
}

}  // namespace vramwise::tape
