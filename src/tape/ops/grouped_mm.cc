// ATen/native/cuda/GroupedBlas.cpp and GroupMM.cu (PyTorch 2.14): one CUTLASS kernel for bfloat16 on 9.0 and 10.x, and
// elsewhere one product after another.

#include "tape/ops/grouped_mm.h"

#include "tape/ops/linear.h"
#include "tape/record.h"

namespace vramwise::tape {
namespace {

// The kernel's arguments lie on the device: pointers, of an even number of groups, strides, shapes; and it has room for
// four descriptors of 128 bytes on each multiprocessor.
std::int64_t argument_bytes(std::int64_t groups) {
  constexpr std::int64_t kThreePointers = 24;
  return kThreePointers * (groups + groups % 2) + kThreePointers * groups + 12 * groups;
}

void multiply(Tape& tape, DType type, const ProductShape& shape) {
  const int capability = tape.hardware().capability;
  if (type == DType::kBFloat16 && (capability == 90 || capability == 100 || capability == 103)) {
    const Scratch arguments(tape, argument_bytes(shape.batch));
    const Scratch descriptors(tape, std::int64_t{512} * tape.hardware().sm_count);
  } else {
    tape.use_cublas();
  }
  tape.count_product(shape, type);
}

// The product of each group's rows and its matrix, and the gradients, which take as much.
struct Product {
  Dims sizes;    ///< of the matrices
  Dims strides;  ///< of the matrices
  std::int64_t rows;
  DType type;

  Product(const Tensor& x, const Tensor& weight)
      : sizes(weight.sizes()), strides(weight.strides()), rows(x.size(0)), type(x.type()) {}

  /// Rows go to the groups in equal numbers: which the router sends where isn't known.
  std::int64_t rows_of_group() const { return (rows + sizes[0] - 1) / sizes[0]; }

  Tensor make(Tape& tape) const {
    Tensor out = tape.empty({rows, sizes[2]}, type);
    multiply(tape, type, {.batch = sizes[0], .rows = rows_of_group(), .columns = sizes[2], .inner = sizes[1]});
    return out;
  }
  void give_matrices(Backward& pass) const {
    Tensor grad = pass.tape().empty_strided(sizes, strides, type);
    multiply(pass.tape(), type, {.batch = sizes[0], .rows = sizes[1], .columns = sizes[2], .inner = rows_of_group()});
    pass.give(1, std::move(grad));
  }
  void give_rows(Backward& pass) const {
    Tensor grad = pass.tape().empty({rows, sizes[1]}, type);
    multiply(pass.tape(), type, {.batch = sizes[0], .rows = rows_of_group(), .columns = sizes[1], .inner = sizes[2]});
    pass.give(0, std::move(grad));
  }
};

}  // namespace

Tensor grouped_mm(Tensor x, Tensor weight, Tensor ends) {
  const Drop drop(x, weight, ends);
  const Product product(x, weight);
  const Tensor* const kept_weight = x.requires_grad() ? &weight : nullptr;
  const Tensor* const kept_x = weight.requires_grad() ? &x : nullptr;
  return record_first(
      x.tape(), {&x, &weight}, {kept_weight, &ends, kept_x}, [&] { return product.make(x.tape()); },
      [product](Backward& pass) {
        if (pass.needs(1)) product.give_matrices(pass);
        if (pass.needs(0)) product.give_rows(pass);
      });
}

// It saves all that it gets and computes both gradients, and `ends` stays with the function's context.
Tensor grouped_mm_fallback(Tensor x, Tensor weight, Tensor ends) {
  const Drop drop(x, weight, ends);
  const Product product(x, weight);
  Tensor out = record(product.make(x.tape()), {&x, &weight}, {&x, &weight}, [product](Backward& pass) {
    product.give_rows(pass);
    product.give_matrices(pass);
  });
  hold(out, ends);
  return out;
}

}  // namespace vramwise::tape
