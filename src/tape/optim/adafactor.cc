// Adafactor, of which there are two. torch.optim.Adafactor (torch/optim/_adafactor.py) keeps its factors in the
// gradient's type and runs as a loop unless foreach is asked for. transformers.Adafactor (transformers/optimization.py;
// the Trainer's optim="adafactor", with scale_parameter and relative_step off) works in float32 copies of gradient and
// parameter, one parameter at a time.

#include "tape/ops/linear.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"
#include "tape/ops/views.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

// x.norm(2), whose value the host may read: a tensor without dimensions.
Tensor norm(const Tensor& x) { return internal::reduce(x, internal::dim_bits({}, x.rank()), false, x.type()); }

// torch.linalg.vector_norm(x, dim, keepdim=True).
Tensor norm_along(const Tensor& x, int dim) {
  return internal::reduce(x, internal::dim_bits({dim}, x.rank()), true, x.type());
}

Tensor mean_along(const Tensor& x, int dim, bool keep_dim) {
  return internal::reduce(x, internal::dim_bits({dim}, x.rank()), keep_dim, x.type());
}

Dims with_one(Dims sizes, int dim) {
  sizes[wrap_dim(dim, sizes.size())] = 1;
  return sizes;
}

Dims without(const Dims& sizes, int dim) {
  Dims rest;
  for (int i = 0; i < sizes.size(); ++i)
    if (i != wrap_dim(dim, sizes.size())) rest.push_back(sizes[i]);
  return rest;
}

// A Python list drops its last element first.
void release(std::vector<Tensor>& list) {
  while (!list.empty()) list.pop_back();
}

// Factored second moments: a row and a column for a matrix, all of it for a vector.
struct State {
  Tensor row;
  Tensor column;
  Tensor whole;
};

class TorchAdafactor final : public Optimizer {
 public:
  TorchAdafactor(std::vector<Tensor> parameters, StepKind kind)
      : Optimizer(std::move(parameters)), kind_(kind), states_(parameters_.size()) {}

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    for (const std::size_t i : with_gradient()) {
      make_state(i);
      parameters_[i].tape().count_kernel(12 * parameters_[i].bytes());
    }
    if (kind_ == StepKind::kForeach) return step_foreach();
    step_loop();
  }

 private:
  void make_state(std::size_t i) {
    State& state = states_[i];
    if (state.row.defined() || state.whole.defined()) return;
    const Tensor gradient = parameters_[i].grad();
    if (gradient.rank() > 1) {
      state.row = gradient.tape().empty(with_one(gradient.sizes(), -1), gradient.type());
      state.column = gradient.tape().empty(with_one(gradient.sizes(), -2), gradient.type());
    } else {
      state.whole = zeros_like(gradient);
    }
  }

  void step_loop() {
    Tensor row_mean;
    Tensor column_mean;
    Tensor estimate;
    Tensor squared;
    Tensor update;
    for (const std::size_t i : with_gradient()) {
      const Tensor gradient = parameters_[i].grad();
      const State& state = states_[i];
      norm(parameters_[i]);
      if (gradient.rank() > 1) {
        row_mean = norm_along(gradient, -1);
        column_mean = norm_along(gradient, -2);
        estimate = matmul(state.row, state.column);
        mean_along(state.row, -2, true);
      } else {
        squared = empty_like(gradient);
        estimate = clone(state.whole);
      }
      update = estimate;
      norm(update);
    }
    for (Tensor* name : {&row_mean, &column_mean, &estimate, &squared, &update}) name->reset();
  }

  // Matrices and vectors of one type are groups of their own, in the order in which they first come.
  std::vector<std::vector<std::size_t>> groups() const {
    std::vector<std::vector<std::size_t>> groups;
    for (const auto& of_type : by_type()) {
      std::vector<std::size_t> parts[2];
      for (const std::size_t i : of_type) parts[parameters_[i].rank() > 1 ? 1 : 0].push_back(i);
      const int first = parameters_[of_type.front()].rank() > 1 ? 1 : 0;
      for (const int part : {first, 1 - first})
        if (!parts[part].empty()) groups.push_back(parts[part]);
    }
    return groups;
  }

  void step_foreach() {
    std::vector<Tensor> estimates;
    for (const auto& group : groups()) {
      for (const std::size_t i : group) norm(parameters_[i]);
      std::vector<Tensor> made =
          parameters_[group.front()].rank() > 1 ? estimates_of_matrices(group) : estimates_of_vectors(group);
      release(estimates);  // of the group before
      estimates = std::move(made);
      for (const Tensor& update : estimates) norm(update);
    }
    release(estimates);
  }

  std::vector<Tensor> estimates_of_matrices(const std::vector<std::size_t>& group) {
    for (const int dim : {-1, -2}) {
      std::vector<Tensor> means;
      means.reserve(group.size());
      for (const std::size_t i : group) means.push_back(norm_along(parameters_[i].grad(), dim));
      release(means);
    }
    std::vector<Tensor> estimates;
    estimates.reserve(group.size());
    for (const std::size_t i : group) estimates.push_back(matmul(states_[i].row, states_[i].column));
    std::vector<Tensor> means;
    means.reserve(group.size());
    for (const std::size_t i : group) means.push_back(mean_along(states_[i].row, -2, true));
    release(means);
    return estimates;
  }

  std::vector<Tensor> estimates_of_vectors(const std::vector<std::size_t>& group) {
    std::vector<Tensor> squared;
    squared.reserve(group.size());
    for (const std::size_t i : group) squared.push_back(empty_like(parameters_[i].grad()));
    release(squared);
    std::vector<Tensor> estimates;
    estimates.reserve(group.size());
    for (const std::size_t i : group) estimates.push_back(clone(states_[i].whole));
    return estimates;
  }

  StepKind kind_;
  std::vector<State> states_;
};

class TransformersAdafactor final : public Optimizer {
 public:
  explicit TransformersAdafactor(std::vector<Tensor> parameters)
      : Optimizer(std::move(parameters)), states_(parameters_.size()), root_mean_squares_(parameters_.size()) {}

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    Tensor gradient;
    Tensor wide;  // p_data_fp32
    Tensor update;
    for (const std::size_t i : with_gradient()) {
      const Tensor& parameter = parameters_[i];
      parameter.tape().count_kernel(14 * parameter.bytes());
      gradient = parameter.grad();
      gradient = to(gradient, widened(gradient.type()));
      make_state(i, gradient);
      wide = parameter;
      wide = to(wide, widened(parameter.type()));
      root_mean_squares_[i] = root_mean_square(wide);
      update = pow(gradient, 2) + 1e-30;
      if (gradient.rank() > 1) {
        mean_along(update, -1, false);
        mean_along(update, -2, false);
        update = factored_root(states_[i]);
      } else {
        update = empty_like(states_[i].whole);
      }
      {
        const Tensor clamped = root_mean_square(update) / 1.0;
      }
      neg(update);
    }
    for (Tensor* name : {&gradient, &wide, &update}) name->reset();
  }

 private:
  static DType widened(DType type) { return is_half(type) ? DType::kFloat32 : type; }

  void make_state(std::size_t i, const Tensor& gradient) {
    State& state = states_[i];
    if (state.row.defined() || state.whole.defined()) return;
    if (gradient.rank() > 1) {
      state.row = gradient.tape().empty(without(gradient.sizes(), -1), gradient.type());
      state.column = gradient.tape().empty(without(gradient.sizes(), -2), gradient.type());
    } else {
      state.whole = zeros_like(gradient);
    }
  }

  static Tensor root_mean_square(const Tensor& x) { return norm(x) / 1.0; }

  // _approx_sq_grad: 1 / sqrt of the outer product of row and column.
  static Tensor factored_root(const State& state) {
    Tensor row = unsqueeze(div(state.row, mean_along(state.row, -1, true)), -1);
    Tensor column = rsqrt(unsqueeze(state.column, -2));
    return mul(std::move(row), std::move(column));
  }

  std::vector<State> states_;
  std::vector<Tensor> root_mean_squares_;  ///< of the parameters, kept on the card as "RMS"
};

}  // namespace

std::unique_ptr<Optimizer> adafactor(std::vector<Tensor> parameters, StepKind kind) {
  return std::make_unique<TorchAdafactor>(std::move(parameters), kind);
}

std::unique_ptr<Optimizer> transformers_adafactor(std::vector<Tensor> parameters) {
  return std::make_unique<TransformersAdafactor>(std::move(parameters));
}

}  // namespace vramwise::tape
