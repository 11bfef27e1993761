// What an operator is, as far as values go: told from its schema, its kernels and a few tables of names.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace vramwise::values {

/// Operators that need more than being run on the CPU.
enum class Special : std::uint8_t {
  kNone,
  kCopy,          ///< between devices, either way
  kScalarRead,    ///< a value comes to the host
  kEqual,         ///< its CUDA kernel reads one bool
  kNonzero,       ///< … reads an int count
  kUnique,        ///< … reads a count: 4 bytes for bool, 8 otherwise
  kTopK,          ///< routing of experts hangs on these
  kSort,          ///<
  kArgExtreme,    ///< argmax, argmin
  kExtremeOfDim,  ///< max and min along a dimension: values and indices
  kIsNan,         ///< predicates of floating-point values, which are taken to be finite where they were skipped
  kIsSignedInf,
  kCompareScalar,
  kCompareTensor,
  kMultinomial,  ///< its checks read whether the probabilities are valid
  kUnscale,      ///< GradScaler's: the gradients are skipped, what it found is not
  kHistogram,    ///< the CPU's lacks integers
  kCollective,   ///< of c10d: every rank is taken to hold what this one does
};

enum class Kind : std::uint8_t {
  kIgnored,  ///< views, questions, and composites: the operators that they call are seen by themselves
  kLeaf,     ///< has a CUDA kernel of its own
  kForeign,  ///< of another library than PyTorch: what it writes is not known
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  Kind kind = Kind::kIgnored;
  Special special = Special::kNone;
  std::size_t argument_count = 0;
  std::vector<std::size_t> written;  ///< arguments that it changes
  std::vector<bool> is_written;      ///< by argument
  int generator = -1;                ///< the argument with a random generator
  bool out_variant = false;          ///< what it writes need not be true before
  bool overwrites = false;           ///< the same of an in-place operator (fill_)
  bool random = false;
  bool heavy = false;          ///< more than some operations an element
  bool uniform = false;        ///< of uniform tensors it makes uniform tensors, and one element stands for all
  bool scatters = false;       ///< writes single elements into a large tensor of one value
  bool returns_fresh = false;  ///< returns tensors that are none of its arguments
  mutable std::atomic<int> failures{0};

  explicit Operator(const c10::OperatorHandle& found) : handle(found) {}
};

/// The operator that is being called; null for what is none (a named range, say).
const Operator* operator_of(const at::RecordFunction& function);

}  // namespace vramwise::values
