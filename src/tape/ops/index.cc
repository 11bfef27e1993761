// Ops that look things up, and their scratch: sorting for the gradient of an embedding, cub's temporary storage.

#include "tape/ops/index.h"

#include <algorithm>

#include "tape/ops/cub.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {

namespace {

constexpr DType kIndex = DType::kInt64;

// The rows that look up one entry are sorted together, cut into runs of ten, and summed run by run
// (EmbeddingBackwardKernel.cu). Sizes are upper bounds, for nobody waits for the device to count the runs.
Tensor sorted_row_sums(const Tensor& grad, std::int64_t count, std::int64_t entries) {
  Tape& tape = grad.tape();
  const Hardware& card = tape.hardware();
  const Tensor sorted = tape.empty({count}, kIndex);
  const Tensor origin = tape.empty({count}, kIndex);
  {
    const Tensor range = tape.empty({count}, kIndex);
    const Scratch sort(tape, cub::sort_pairs_bytes(card, count, cub::bits_for(static_cast<std::uint64_t>(entries))));
  }
  Tensor out = tape.empty({entries, grad.size(-1)}, grad.type());
  const Tensor runs = tape.empty({count}, kIndex);
  const Tensor run_count = tape.empty({}, kIndex);
  {
    const Scratch keys(tape, count * 8);
    const Scratch unique(tape, cub::unique_by_key_bytes(card, count));
  }
  const std::int64_t most_runs = std::min(count, entries);
  const Tensor parts = tape.empty({most_runs}, kIndex);
  const Tensor part_offsets = tape.empty({most_runs}, kIndex);
  {
    const Scratch scan(tape, cub::scan_bytes(most_runs, 8));
  }
  const Tensor part_count = tape.empty({}, kIndex);
  const std::int64_t most_parts = count / 10 + most_runs;
  const Tensor starts = tape.empty({most_parts}, kIndex);
  // Few entries with long runs are added up with atomic operations, 16-bit ones in a buffer of 32 bits.
  const DType sum_type = accumulate_type(grad.type());
  if (most_runs * 30 <= count && most_runs < std::int64_t{4} * card.sm_count) {
    const Tensor entry_of_part = tape.empty({most_parts}, kIndex);
    const Scratch sums(tape, sum_type == grad.type() ? 0 : out.numel() * size_of(sum_type));
    tape.count_kernel(grad.bytes() + 2 * out.bytes());
    return out;
  }
  const Tensor sums = tape.empty({most_parts, grad.size(-1)}, sum_type);
  tape.count_kernel(grad.bytes() + sums.bytes() + 2 * out.bytes());
  return out;
}

}  // namespace

Tensor embedding(Tensor weight, Tensor indices) {
  const Drop drop(weight, indices);
  const auto make = [&] {
    Dims sizes = indices.sizes();
    sizes.push_back(weight.size(1));
    const Tensor flat = indices.rank() == 1 ? indices : reshape(indices, {-1});
    Tensor out = weight.tape().empty(sizes, weight.type());
    out.tape().count_kernel(2 * out.bytes() + indices.bytes());
    return out;
  };
  return record_first(weight.tape(), {&weight}, {&indices}, make, [entries = weight.size(0)](Backward& pass) {
    pass.give(0, embedding_gradient(pass.grad(), pass.saved(0), entries));
  });
}

Tensor embedding_gradient(const Tensor& grad, const Tensor& indices, std::int64_t entries) {
  const Tensor rows = contiguous(indices);
  const Tensor sums = contiguous(grad);
  constexpr std::int64_t kUnsorted = 3072;
  if (rows.numel() > kUnsorted) return sorted_row_sums(sums, rows.numel(), entries);
  Tensor out = grad.tape().empty({entries, grad.size(-1)}, grad.type());
  grad.tape().count_kernel(grad.bytes() + 2 * out.bytes());
  return out;
}

Tensor dropout(Tensor x, double p, bool training) {
  const Drop drop(x);
  if (p == 0 || !training || x.numel() == 0) return x;
  Tape& tape = x.tape();
  const Tensor mask = internal::elementwise({&x}, DType::kBool);
  Tensor out = internal::elementwise({&x}, x.type());
  tape.count_kernel(2 * x.bytes() + mask.bytes());
  return record(std::move(out), {&x}, {&mask}, [](Backward& pass) {
    const Tensor mask = pass.saved(0);
    pass.give(0, internal::elementwise({&pass.grad(), &mask}, pass.grad().type()));
  });
}

Tensor where(Tensor condition, Tensor a, Tensor b) {
  const Drop drop(condition, a, b);
  const auto make = [&] { return internal::elementwise({&condition, &a, &b}, result_type(a, b)); };
  return record_first(condition.tape(), {&a, &b}, {&condition}, make, [](Backward& pass) {
    const Tensor condition = pass.saved(0);
    if (pass.needs(1)) pass.give(1, where(condition, pass.grad(), 0.0));
    if (pass.needs(0)) pass.give(0, where(condition, pass.grad(), 0.0));
  });
}

Tensor where(Tensor condition, Tensor a, Scalar b) {
  const Drop drop(condition, a);
  const Tensor number = a.tape().empty({}, result_type(a, b));
  return where(condition, to(a, number.type()), number);
}

Tensor masked_fill(Tensor x, Tensor mask, Scalar) {
  const Drop drop(x, mask);
  const Dims sizes = broadcast(x.sizes(), mask.sizes());
  Tensor out = x.tape().empty(sizes, x.type());
  x.tape().count_kernel(2 * out.bytes());
  return record(std::move(out), {&x}, {&mask}, [](Backward& pass) {
    const Tensor mask = pass.saved(0);
    pass.give(0, masked_fill(pass.grad(), mask, 0.0));
  });
}

Tensor compare(Tensor a, Tensor b) {
  const Drop drop(a, b);
  return internal::elementwise({&a, &b}, DType::kBool);
}

Tensor compare(Tensor a, Scalar) {
  const Drop drop(a);
  return internal::elementwise({&a}, DType::kBool);
}

Tensor logical_and(Tensor a, Tensor b) { return compare(std::move(a), std::move(b)); }

void all(Tensor x) {
  const Drop drop(x);
  const Tensor result = internal::reduce(x, internal::dim_bits({}, x.rank()), false, DType::kBool);
  x.tape().pinned({}, DType::kBool).reset();
}

Tensor cumsum(Tensor x, int dim, std::optional<DType> wanted) {
  const Drop drop(x);
  const DType type =
      wanted.value_or(autocast_result_type(x).value_or(is_floating(x.type()) ? x.type() : DType::kInt64));
  Tensor out = x.tape().empty(x.sizes(), type);
  {
    const GradMode no_grad(x.tape(), false);
    const Tensor input = to(x, type);
    const Tensor whole = contiguous(input);
    const bool is_one_row = x.numel() == x.size(dim);
    const Scratch scan(x.tape(), is_one_row ? cub::scan_bytes(x.numel(), size_of(type)) : 0);
    x.tape().count_kernel(2 * out.bytes());
  }
  return record(std::move(out), {&x}, {}, [dim, before = x.type()](Backward& pass) {
    const Tensor grad = to(pass.grad(), before);
    if (grad.numel() <= 1 || grad.size(dim) == 1) return pass.give(0, grad);
    const Tensor flipped = empty_like(grad);
    const Tensor summed = cumsum(flipped, dim);
    pass.give(0, empty_like(summed));
  });
}

Tensor gather(Tensor x, int dim, Tensor index) {
  const Drop drop(x, index);
  Tensor out = x.tape().empty(index.sizes(), x.type());
  x.tape().count_kernel(2 * out.bytes() + index.bytes());
  return record(std::move(out), {&x}, {&index}, [sizes = x.sizes(), dim](Backward& pass) {
    const Tensor index = pass.saved(0);
    (void)dim;
    Tensor grad = pass.tape().empty(sizes, pass.grad().type());
    pass.give(0, std::move(grad));
  });
}

Tensor index_select(Tensor x, int dim, Tensor index) {
  const Drop drop(x, index);
  Dims sizes = x.sizes();
  sizes[wrap_dim(dim, x.rank())] = index.numel();
  Tensor out = x.tape().empty(sizes, x.type());
  return record(std::move(out), {&x}, {&index}, [before = x.sizes()](Backward& pass) {
    const Tensor index = pass.saved(0);
    pass.give(0, pass.tape().empty(before, pass.grad().type()));
  });
}

namespace {

// index_put_ with accumulation sorts the positions first (Indexing.cu, index_put_with_sort_kernel).
void sort_positions(const Tensor& index, std::int64_t entries) {
  Tape& tape = index.tape();
  const Tensor sorted = tape.empty(index.sizes(), kIndex);
  const Tensor origin = tape.empty(index.sizes(), kIndex);
  const Tensor range = tape.empty({index.numel()}, kIndex);
  const int bits = cub::bits_for(static_cast<std::uint64_t>(entries));
  const Scratch sort(tape, cub::sort_pairs_bytes(tape.hardware(), index.numel(), bits));
}

// An index wrapped around, then times the stride.
Tensor scaled_position(const Tensor& index) {
  Tensor position = internal::elementwise({&index}, kIndex);
  position = internal::elementwise({&position}, kIndex);
  return position;
}

void add_at_positions(const Tensor& index, std::int64_t entries) {
  Tensor position = scaled_position(index);
  position = contiguous(std::move(position));
  sort_positions(index, entries);
}

void add_at_pairs(const Tensor& rows, const Tensor& columns, std::int64_t entries) {
  const Tensor position = scaled_position(rows);
  {
    const Tensor wrapped = internal::elementwise({&columns}, kIndex);
    const Tensor scaled = internal::elementwise({&wrapped}, kIndex);
  }
  sort_positions(rows, entries);
}

}  // namespace

void internal::add_at_listed(Tensor& positions, std::int64_t entries) {
  Tensor column = positions.tape().alias(positions, {positions.size(1)}, {1}, 0);
  const Tensor position = scaled_position(column);
  {
    const Tensor wrapped = internal::elementwise({&column}, kIndex);
    const Tensor scaled = internal::elementwise({&wrapped}, kIndex);
  }
  column.reset();
  positions.reset();
  sort_positions(position, entries);
}

Tensor index_first(Tensor x, Tensor index) {
  const Drop drop(x, index);
  Dims sizes = index.sizes();
  for (int i = 1; i < x.rank(); ++i) sizes.push_back(x.sizes()[i]);
  const auto make = [&] { return x.tape().empty(sizes, x.type()); };
  return record_first(x.tape(), {&x}, {&index}, make, [before = x.sizes()](Backward& pass) {
    const Tensor index = pass.saved(0);
    Tensor grad = pass.tape().empty(before, pass.grad().type());
    add_at_positions(index, before[0]);
    pass.tape().count_kernel(grad.bytes() + 2 * pass.grad().bytes());
    pass.give(0, std::move(grad));
  });
}

Tensor index_pairs(Tensor x, Tensor rows, Tensor columns) {
  const Drop drop(x, rows, columns);
  Dims sizes = rows.sizes();
  for (int i = 2; i < x.rank(); ++i) sizes.push_back(x.sizes()[i]);
  Tensor out = x.tape().empty(sizes, x.type());
  return record(std::move(out), {&x}, {&rows, &columns}, [before = x.sizes()](Backward& pass) {
    const Tensor rows = pass.saved(0);
    const Tensor columns = pass.saved(1);
    Tensor grad = pass.tape().empty(before, pass.grad().type());
    add_at_pairs(rows, columns, before[0] * before[1]);
    pass.tape().count_kernel(grad.bytes() + 2 * pass.grad().bytes());
    pass.give(0, std::move(grad));
  });
}

Tensor argmax(Tensor x, int dim) {
  const Drop drop(x);
  Dims sizes = x.sizes();
  sizes.erase(wrap_dim(dim, x.rank()));
  return x.tape().empty(sizes, kIndex);
}

std::pair<Tensor, Tensor> topk(Tensor x, std::int64_t k, int dim) {
  const Drop drop(x);
  Dims sizes = x.sizes();
  sizes[wrap_dim(dim, x.rank())] = k;
  Tensor values = x.tape().empty(sizes, x.type());
  Tensor indices = x.tape().empty(sizes, DType::kInt64);
  {
    const Tensor whole = contiguous(detach(x));
  }
  return {record(std::move(values), {&x}, {&indices},
                 [before = x.sizes()](Backward& pass) {
                   const Tensor index = pass.saved(0);
                   pass.give(0, pass.tape().empty(before, pass.grad().type()));
                 }),
          indices};
}

Tensor arange(Tape& tape, std::int64_t count, DType type) { return tape.empty({count}, type); }
Tensor full(Tape& tape, const Dims& sizes, DType type) { return tape.empty(sizes, type); }

}  // namespace vramwise::tape
