// Reductions on CUDA. A kernel that splits one output over several blocks keeps their partial sums and a counter for
// each output in memory of its own; whether it does follows from the shape and from the card
// (ATen/native/cuda/Reduce.cuh, setReduceConfig).

#include "tape/ops/reduce.h"

#include <algorithm>

#include "tape/iterator.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"
#include "tape/record.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

constexpr int kMaxThreads = 512;
constexpr int kWarp = 32;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t last_power_of_two(std::int64_t n) {
  std::int64_t power = 1;
  while (power * 2 <= n) power *= 2;
  return power;
}

struct ReducePlan {
  std::int64_t buffer_bytes = 0;
  std::int64_t semaphore_bytes = 0;
};

// How many outputs a thread computes at once, when threads lie along the outputs.
std::int64_t output_vector(const Reduction& r) {
  std::int64_t width = 4;
  const auto limit = [&](std::int64_t n) {
    while (n % width != 0) width /= 2;
  };
  const Operand& in = r.input();
  limit(in.offset_bytes / in.element_bytes);
  const int first_output = r.reduced_rank();
  limit(r.shape()[first_output]);
  for (int i = 0; i < r.rank(); ++i) {
    if (i != first_output) limit(in.strides[i] / in.element_bytes);
  }
  return width;
}

ReducePlan plan_reduction(const Reduction& r, const Hardware& card, std::int64_t accumulator_bytes, int input_vector) {
  const std::int64_t outputs = r.output_count();
  const std::int64_t inputs = r.numel() / outputs;
  const Operand& in = r.input();
  const int reduced = r.reduced_rank();
  const bool along_inputs = r.rank() == 0 || reduced == r.rank() || in.strides[0] < in.strides[reduced];
  std::int64_t width_limit = r.rank() == 0 ? 1 : (along_inputs ? inputs : outputs);
  const std::int64_t height_limit = r.rank() == 0 ? 1 : (along_inputs ? outputs : inputs);
  const std::int64_t fastest = r.rank() == 0 ? in.element_bytes : in.strides[along_inputs ? 0 : reduced];
  std::int64_t vector = 1;
  if (fastest == in.element_bytes) {
    if (along_inputs && width_limit >= 128 && reduced == 1) {
      width_limit /= input_vector;
    } else if (!along_inputs) {
      vector = output_vector(r);
      width_limit /= vector;
    }
  }

  const std::int64_t most = kMaxThreads / vector;
  const std::int64_t width = width_limit < most ? last_power_of_two(width_limit) : most;
  const std::int64_t height = height_limit < most ? last_power_of_two(height_limit) : most;
  std::int64_t block_width = std::min<std::int64_t>(width, kWarp);
  const std::int64_t block_height = std::min(height, most / block_width);
  block_width = std::min(width, most / block_height);
  const std::int64_t threads = block_width * block_height;

  std::int64_t step_input = along_inputs ? block_width : 1;
  std::int64_t step_output = along_inputs ? 1 : block_width;
  const auto values_per_thread = [&] { return divide_up(inputs, step_input); };
  const bool across_warps = values_per_thread() >= std::min<std::int64_t>(block_height * 16, 256);
  (across_warps ? step_input : step_output) *= block_height;

  const std::int64_t wanted_blocks = card.sm_count * (card.max_threads_per_sm / threads);
  const std::int64_t grid = divide_up(outputs / vector, step_output);
  if (!across_warps || values_per_thread() < 256 || grid > wanted_blocks) return {};
  const std::int64_t enough = divide_up(wanted_blocks, grid);
  const std::int64_t most_useful = divide_up(values_per_thread(), 16);
  const std::int64_t least = divide_up(values_per_thread(), 256);
  const std::int64_t blocks = enough < least ? least : std::min(enough, most_useful);
  if (blocks <= 1) return {};
  std::int64_t bytes = accumulator_bytes * outputs * blocks;
  if (!along_inputs) bytes *= block_width * vector;
  return {.buffer_bytes = bytes, .semaphore_bytes = 4 * grid};
}

void run_reduction(Tape& tape, const Reduction& r, std::int64_t accumulator_bytes, int input_vector) {
  if (!r.fits_32_bit()) {
    Reduction first = r;
    Reduction second = r;
    r.split(first, second);
    run_reduction(tape, first, accumulator_bytes, input_vector);
    run_reduction(tape, second, accumulator_bytes, input_vector);
    return;
  }
  const ReducePlan plan = plan_reduction(r, tape.hardware(), accumulator_bytes, input_vector);
  const Scratch buffer(tape, plan.buffer_bytes);
  const Scratch semaphores(tape, plan.semaphore_bytes);
}

}  // namespace

namespace internal {

unsigned dim_bits(DimList dims, int rank) {
  unsigned bits = 0;
  for (const int dim : dims) bits |= 1U << wrap_dim(dim, rank);
  return dims.size() == 0 ? (1U << rank) - 1 : bits;
}

Tensor reduce(const Tensor& x, unsigned dims, bool keep_dim, DType type) {
  Dims sizes;
  for (int i = 0; i < x.rank(); ++i) {
    const bool is_reduced = (dims >> i & 1U) != 0;
    if (!is_reduced || keep_dim) sizes.push_back(is_reduced ? 1 : x.sizes()[i]);
  }
  Tensor out = x.tape().empty(sizes, type);
  reduce_into(x, dims, type);
  return out;
}

void reduce_into(const Tensor& x, unsigned dims, DType type) {
  if (x.numel() == 0) return;
  Tape& tape = x.tape();
  const Reduction reduction(x, dims, type);
  const std::int64_t accumulator = size_of(accumulate_type(x.type()));
  // Sums that don't fit 32-bit offsets keep their partial results apart where the output's type is too coarse.
  const bool needs_buffer = !reduction.fits_32_bit() && is_half(x.type()) && type == x.type();
  const Scratch buffer(tape, needs_buffer ? reduction.output_count() * accumulator : 0);
  run_reduction(tape, reduction, accumulator, is_half(x.type()) ? 8 : 4);
  tape.count_kernel(x.bytes() + reduction.output_count() * size_of(type));
}

Tensor expand_reduced(const Tensor& gradient, const Dims& sizes, unsigned dims, bool keep_dim) {
  Tensor seen = gradient;
  if (!keep_dim && !sizes.empty()) {
    for (int i = 0; i < sizes.size(); ++i) {
      if ((dims >> i & 1U) != 0) seen = unsqueeze(std::move(seen), i);
    }
  }
  return expand(std::move(seen), sizes);
}

}  // namespace internal

// The result is made first, then the mask is widened.
Tensor count_true(const Tensor& mask) {
  Tensor out = mask.tape().empty({}, DType::kInt64);
  const Tensor wide = mask.tape().empty(mask.sizes(), DType::kInt64);
  internal::reduce_into(wide, internal::dim_bits({}, wide.rank()), DType::kInt64);
  return out;
}

Tensor sum(Tensor x, DimList dims, bool keep_dim) {
  const Drop drop(x);
  const unsigned bits = internal::dim_bits(dims, x.rank());
  Tensor out = internal::reduce(x, bits, keep_dim, autocast_result_type(x).value_or(x.type()));
  const bool of_all = dims.size() == 0;
  return record(out, {&x}, {}, [sizes = x.sizes(), bits, keep_dim, of_all](Backward& b) {
    b.give(0, of_all ? expand(b.grad(), sizes) : internal::expand_reduced(b.grad(), sizes, bits, keep_dim));
  });
}

Tensor mean(Tensor x, DimList dims, bool keep_dim) {
  const Drop drop(x);
  const unsigned bits = internal::dim_bits(dims, x.rank());
  Tensor out = internal::reduce(x, bits, keep_dim, x.type());
  return record(out, {&x}, {}, [sizes = x.sizes(), bits, keep_dim](Backward& b) {
    const double count = static_cast<double>(sizes.product()) / static_cast<double>(b.grad().numel());
    b.give(0, div(internal::expand_reduced(b.grad(), sizes, bits, keep_dim), count));
  });
}

// ATen/native/cuda/ReduceNormKernel.cu
Tensor norm_of_all(const Tensor& x) {
  Tensor out = x.tape().empty({}, x.type());
  internal::reduce_into(x, internal::dim_bits({}, x.rank()), x.type());
  return out;
}

// ATen/native/cuda/ReduceMaxValuesKernel.cu compares in the type of x, so partial results have that type.
Tensor amax(const Tensor& x) {
  Tensor out = x.tape().empty({}, x.type());
  const Reduction reduction(x, internal::dim_bits({}, x.rank()), x.type());
  run_reduction(x.tape(), reduction, size_of(x.type()), 4);
  x.tape().count_kernel(x.bytes());
  return out;
}

Tensor sum_to(const Tensor& x, const Dims& sizes) {
  if (sizes.empty()) return sum(x);
  const int lead = x.rank() - sizes.size();
  unsigned bits = 0;
  for (int i = 0; i < x.rank(); ++i) {
    if (i < lead || (sizes[i - lead] == 1 && x.sizes()[i] != 1)) bits |= 1U << i;
  }
  Tensor out = bits == 0 ? x : internal::reduce(x, bits, true, x.type());
  return lead > 0 ? view(std::move(out), sizes) : out;
}

}  // namespace vramwise::tape
