// The ops by name, as the programs of tests/tape call them. torch_side.py has the same table for PyTorch.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "tape/tensor.h"

namespace vramwise::tape {

struct Call {
  std::vector<Tensor> in;
  Json args;

  /// An argument by name, or `fallback`.
  std::int64_t number(const char* name, std::int64_t fallback = 0) const {
    return args.contains(name) ? args.at(name).get<std::int64_t>() : fallback;
  }
  double real(const char* name, double fallback = 0) const {
    return args.contains(name) ? args.at(name).get<double>() : fallback;
  }
  bool flag(const char* name, bool fallback = false) const {
    return args.contains(name) ? args.at(name).get<bool>() : fallback;
  }
  std::string text(const char* name, const char* fallback = "") const {
    return args.contains(name) ? args.at(name).get<std::string>() : fallback;
  }
  Dims dims(const char* name) const;
  const Tensor& operator[](std::size_t i) const { return in[i]; }
};

DType dtype_named(const std::string& name);

/// Runs the op `name`; an unknown one ends the program.
std::vector<Tensor> run_op(const std::string& name, const Call& call);

}  // namespace vramwise::tape
