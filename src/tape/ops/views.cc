// Views, and the few ops of their family that copy (ATen/native/TensorShape.cpp; formulas: derivatives.yaml).

#include "tape/ops/views.h"

#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

Tensor seen_as(const Tensor& x, const Dims& sizes, const Dims& strides, std::int64_t offset = 0) {
  return x.tape().view(x, sizes, strides, x->offset + offset);
}

Dims with_inferred_size(const Tensor& x, Dims sizes) {
  std::int64_t known = 1;
  int open = -1;
  for (int i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1) {
      open = i;
    } else {
      known *= sizes[i];
    }
  }
  if (open >= 0) sizes[open] = known == 0 ? 0 : x.numel() / known;
  VRAMWISE_CHECK(sizes.product() == x.numel());
  return sizes;
}

template <typename Make>
Tensor zero_but(const Tensor& gradient, const Dims& sizes, Make part) {
  Tensor whole = gradient.tape().empty(sizes, gradient.type());
  const Tensor target = part(whole);
  gradient.tape().count_kernel(whole.bytes() + 2 * gradient.bytes());
  return whole;
}

// The gradient of a split tensor: its parts in a row, zeros where nothing arrived.
void give_joined(Backward& pass, const Dims& sizes, int dim) {
  std::vector<Tensor> parts;
  for (int i = 0; i < pass.grad_count(); ++i) {
    if (pass.grad(i).defined()) {
      parts.push_back(pass.grad(i));
      continue;
    }
    Dims missing = sizes;
    missing[dim] = pass.number(i);
    const Tensor* some = nullptr;
    for (int k = 0; some == nullptr; ++k) some = pass.grad(k).defined() ? &pass.grad(k) : nullptr;
    parts.push_back(pass.tape().empty(missing, some->type()));
  }
  pass.give(0, cat(std::move(parts), dim));
}

}  // namespace

Tensor view(Tensor x, Dims sizes) {
  const Drop drop(x);
  sizes = with_inferred_size(x, sizes);
  Dims strides;
  VRAMWISE_CHECK_THAT(view_strides(x.sizes(), x.strides(), sizes, strides), "a view that would take a copy");
  return record(seen_as(x, sizes, strides), {&x}, {},
                [before = x.sizes()](Backward& b) { b.give(0, reshape(b.grad(), before)); });
}

Tensor unsafe_view(Tensor x, Dims sizes) {
  const Drop drop(x);
  sizes = with_inferred_size(x, sizes);
  Dims strides;
  VRAMWISE_CHECK_THAT(view_strides(x.sizes(), x.strides(), sizes, strides), "a view that would take a copy");
  return record(x.tape().alias(x, sizes, strides, x->offset), {&x}, {},
                [before = x.sizes()](Backward& b) { b.give(0, reshape(b.grad(), before)); });
}

Tensor reshape(Tensor x, Dims sizes) {
  const Drop drop(x);
  sizes = with_inferred_size(x, sizes);
  Dims strides;
  if (view_strides(x.sizes(), x.strides(), sizes, strides)) return view(x, sizes);
  return unsafe_view(contiguous(x), sizes);
}

Tensor flatten(Tensor x, int first, int last) {
  const Drop drop(x);
  first = wrap_dim(first, x.rank());
  last = wrap_dim(last, x.rank());
  if (first == last) return x.rank() == 0 ? reshape(x, {1}) : x;
  Dims sizes;
  for (int i = 0; i < x.rank(); ++i) {
    if (i > first && i <= last) {
      sizes[first] *= x.sizes()[i];
    } else {
      sizes.push_back(x.sizes()[i]);
    }
  }
  return reshape(x, sizes);
}

Tensor transpose(Tensor x, int a, int b) {
  const Drop drop(x);
  a = wrap_dim(a, x.rank());
  b = wrap_dim(b, x.rank());
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  std::swap(sizes[a], sizes[b]);
  std::swap(strides[a], strides[b]);
  return record(seen_as(x, sizes, strides), {&x}, {},
                [a, b](Backward& pass) { pass.give(0, transpose(pass.grad(), a, b)); });
}

Tensor t(Tensor x) {
  const Drop drop(x);
  return transpose(x, 0, x.rank() < 2 ? 0 : 1);
}

Tensor permute(Tensor x, Dims order) {
  const Drop drop(x);
  Dims sizes;
  Dims strides;
  Dims back = order;
  for (int i = 0; i < order.size(); ++i) {
    const int from = wrap_dim(static_cast<int>(order[i]), x.rank());
    sizes.push_back(x.sizes()[from]);
    strides.push_back(x.strides()[from]);
    back[from] = i;
  }
  return record(seen_as(x, sizes, strides), {&x}, {},
                [back](Backward& pass) { pass.give(0, permute(pass.grad(), back)); });
}

Tensor unsqueeze(Tensor x, int dim) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank() + 1);
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  strides.insert(dim, dim < x.rank() ? sizes[dim] * strides[dim] : 1);
  sizes.insert(dim, 1);
  return record(seen_as(x, sizes, strides), {&x}, {},
                [dim](Backward& pass) { pass.give(0, squeeze(pass.grad(), dim)); });
}

Tensor squeeze(Tensor x, int dim) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  const bool shrinks = !sizes.empty() && sizes[dim] == 1;
  if (shrinks) {
    sizes.erase(dim);
    strides.erase(dim);
  }
  return record(seen_as(x, sizes, strides), {&x}, {},
                [dim, shrinks](Backward& pass) { pass.give(0, shrinks ? unsqueeze(pass.grad(), dim) : pass.grad()); });
}

Tensor expand(Tensor x, Dims sizes) {
  const Drop drop(x);
  const int lead = sizes.size() - x.rank();
  VRAMWISE_CHECK(lead >= 0);
  Dims strides = Dims::filled(sizes.size(), 0);  // as they stay for a tensor without dimensions
  for (int i = x.rank() == 0 ? -1 : sizes.size() - 1; i >= 0; --i) {
    const std::int64_t size = i >= lead ? x.sizes()[i - lead] : 1;
    const std::int64_t stride =
        i >= lead ? x.strides()[i - lead] : (i + 1 < sizes.size() ? sizes[i + 1] * strides[i + 1] : 1);
    if (sizes[i] == -1) sizes[i] = size;
    VRAMWISE_CHECK(size == sizes[i] || size == 1);
    strides[i] = size == sizes[i] ? stride : 0;
  }
  return record(seen_as(x, sizes, strides), {&x}, {},
                [before = x.sizes()](Backward& pass) { pass.give(0, sum_to(pass.grad(), before)); });
}

namespace {

Tensor sliced(const Tensor& x, int dim, std::int64_t begin, std::int64_t end, std::int64_t step) {
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  sizes[dim] = (end - begin + step - 1) / step;
  strides[dim] *= step;
  return record(seen_as(x, sizes, strides, begin * x.strides()[dim]), {&x}, {},
                [before = x.sizes(), dim, begin, end, step](Backward& pass) {
                  pass.give(0, zero_but(pass.grad(), before,
                                        [&](const Tensor& whole) { return sliced(whole, dim, begin, end, step); }));
                });
}

}  // namespace

Tensor slice(Tensor x, int dim, std::int64_t begin, std::int64_t end, std::int64_t step) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  const std::int64_t size = x.sizes()[dim];
  if (begin < 0) begin += size;
  if (end < 0) end += size;
  begin = std::clamp<std::int64_t>(begin, 0, size);
  end = std::clamp<std::int64_t>(end, begin, size);
  if (begin != 0 || end != size || step != 1) return sliced(x, dim, begin, end, step);
  return record(seen_as(x, x.sizes(), x.strides()), {&x}, {}, [](Backward& pass) { pass.give(0, pass.grad()); });
}

Tensor narrow(Tensor x, int dim, std::int64_t begin, std::int64_t length) {
  const Drop drop(x);
  return sliced(x, wrap_dim(dim, x.rank()), begin, begin + length, 1);
}

Tensor select(Tensor x, int dim, std::int64_t index) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  if (index < 0) index += x.sizes()[dim];
  Dims sizes = x.sizes();
  Dims strides = x.strides();
  sizes.erase(dim);
  strides.erase(dim);
  return record(
      seen_as(x, sizes, strides, index * x.strides()[dim]), {&x}, {}, [before = x.sizes(), dim, index](Backward& pass) {
        pass.give(0, zero_but(pass.grad(), before, [&](const Tensor& whole) { return select(whole, dim, index); }));
      });
}

Tensor detach(Tensor x) {
  const Drop drop(x);
  return x.tape().alias(x, x.sizes(), x.strides(), x->offset);
}

std::vector<Tensor> split(Tensor x, std::int64_t size, int dim) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  std::vector<std::int64_t> sizes;
  for (std::int64_t at = 0; at < x.sizes()[dim]; at += size) sizes.push_back(std::min(size, x.sizes()[dim] - at));
  return split(x, sizes, dim);
}

std::vector<Tensor> split(Tensor x, const std::vector<std::int64_t>& parts, int dim) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  std::vector<Tensor> out;
  std::int64_t at = 0;
  for (const std::int64_t part : parts) {
    Dims sizes = x.sizes();
    sizes[dim] = part;
    out.push_back(seen_as(x, sizes, x.strides(), at * x.strides()[dim]));
    at += part;
  }
  record_outputs(out, x, parts, [sizes = x.sizes(), dim](Backward& pass) { give_joined(pass, sizes, dim); });
  return out;
}

std::vector<Tensor> chunk(Tensor x, int count, int dim) {
  const Drop drop(x);
  const std::int64_t size = x.size(dim);
  return split(x, (size + count - 1) / count, dim);
}

Tensor cat(std::initializer_list<Tensor> parts, int dim) { return cat(std::vector<Tensor>(parts), dim); }

Tensor cat(std::vector<Tensor> parts, int dim) {
  Tape& tape = parts.front().tape();
  Dims sizes = parts.front().sizes();
  dim = wrap_dim(dim, sizes.size());
  DType type = parts.front().type();
  bool channels_last = true;
  sizes[dim] = 0;
  std::int64_t read = 0;
  std::vector<std::int64_t> lengths;
  for (const Tensor& part : parts) {
    lengths.push_back(part.sizes()[dim]);
    sizes[dim] += part.sizes()[dim];
    type = promote(type, part.type());
    channels_last = channels_last && !part.is_contiguous() && is_channels_last(part.sizes(), part.strides());
    read += part.bytes();
  }
  Tensor out = channels_last ? tape.empty_strided(sizes, channels_last_strides(sizes), type) : tape.empty(sizes, type);
  tape.count_kernel(read + out.bytes());
  return record_inputs(std::move(out), parts, lengths, [dim](Backward& pass) {
    std::int64_t at = 0;
    for (int i = 0; i < pass.input_count(); ++i) {
      const std::int64_t size = pass.number(i);
      if (pass.needs(i)) pass.give(i, narrow(pass.grad(), dim, at, size));
      at += size;
    }
  });
}

Tensor stack(std::vector<Tensor> parts, int dim) {
  Tape& tape = parts.front().tape();
  dim = wrap_dim(dim, parts.front().rank() + 1);
  Dims sizes = parts.front().sizes();
  sizes.insert(dim, static_cast<std::int64_t>(parts.size()));
  DType type = parts.front().type();
  for (const Tensor& part : parts) type = promote(type, part.type());
  Tensor out = tape.empty(sizes, type);
  tape.count_kernel(2 * out.bytes());
  return record_inputs(std::move(out), parts, {}, [dim](Backward& pass) {
    for (int i = 0; i < pass.input_count(); ++i) {
      if (pass.needs(i)) pass.give(i, select(pass.grad(), dim, i));
    }
  });
}

Tensor repeat_interleave(Tensor x, std::int64_t repeats, int dim) {
  const Drop drop(x);
  dim = wrap_dim(dim, x.rank());
  Tensor seen = unsqueeze(x, dim + 1);
  Dims sizes = seen.sizes();
  sizes[dim + 1] = repeats;
  seen = expand(std::move(seen), sizes);
  return flatten(contiguous_clone(std::move(seen)), dim, dim + 1);
}

Tensor pad_last(Tensor x, std::int64_t count) {
  const Drop drop(x);
  Dims sizes = x.sizes();
  sizes[x.rank() - 1] += count;
  Tensor out = x.tape().empty(sizes, x.type());
  x.tape().count_kernel(2 * out.bytes());
  return record(std::move(out), {&x}, {}, [count](Backward& pass) { pass.give(0, pad_last(pass.grad(), -count)); });
}

}  // namespace vramwise::tape
