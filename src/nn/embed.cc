// The embedding, and which implementation the operators take.
#include "nn/dispatch.h"
#include "nn/ops.h"

namespace vramwise {

using internal::parallel_rows;
using internal::with_type;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

thread_local Path current_path = Path::kFastest;

struct Embed : torch::autograd::Function<Embed> {
  static Tensor forward(AutogradContext* ctx, const Tensor& table, const Tensor& ids) {
    ctx->save_for_backward({ids});
    ctx->saved_data["vocab"] = table.size(0);
    return table.index_select(0, ids);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const Tensor ids = ctx->get_saved_variables()[0];
    const std::int64_t vocab = ctx->saved_data["vocab"].toInt();
    Tensor dy = gradients[0].contiguous();
    if (!internal::cpu_kernels_apply(dy)) return {at::embedding_dense_backward(dy, ids, vocab, -1, false), {}};
    const std::int64_t width = dy.size(1);
    const Tensor sum = at::zeros({vocab, width}, dy.options().dtype(torch::kFloat));
    with_type(dy.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel_rows(width, dy.size(0), [&](cpu::Rows columns) {
        cpu::embedding_backward(dy.const_data_ptr<T>(), ids.const_data_ptr<std::int64_t>(),
                                sum.mutable_data_ptr<float>(), dy.size(0), columns, width);
      });
    });
    return {sum.to(dy.scalar_type()), {}};
  }
};

}  // namespace

PathGuard::PathGuard(Path path) : previous_(current_path) { current_path = path; }
PathGuard::~PathGuard() { current_path = previous_; }

bool internal::cpu_kernels_apply(const Tensor& tensor) { return tensor.is_cpu() && current_path == Path::kFastest; }

Tensor embed(const Tensor& table, const Tensor& ids) { return Embed::apply(table, ids); }

}  // namespace vramwise
