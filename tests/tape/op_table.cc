// One line an op: its name in the programs, and the call.

#include "op_table.h"

#include <functional>
#include <map>

#include "tape/ops/attention.h"
#include "tape/ops/convolution.h"
#include "tape/ops/grouped_mm.h"
#include "tape/ops/index.h"
#include "tape/ops/linear.h"
#include "tape/ops/norm.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/pool.h"
#include "tape/ops/reduce.h"
#include "tape/ops/softmax.h"
#include "tape/ops/sort.h"
#include "tape/ops/views.h"

namespace vramwise::tape {
namespace {

using Run = std::function<std::vector<Tensor>(const Call&)>;

std::vector<Tensor> one(Tensor tensor) { return {std::move(tensor)}; }

Run unary(Tensor (*op)(Tensor)) {
  return [op](const Call& c) { return one(op(c[0])); };
}

// Reductions over all, or over the one dimension `dim`.
Run reduction(Tensor (*op)(Tensor, DimList, bool)) {
  return [op](const Call& c) {
    if (!c.args.contains("dim")) return one(op(c[0], {}, false));
    return one(op(c[0], {static_cast<int>(c.number("dim"))}, c.flag("keepdim")));
  };
}

Scalar scalar_argument(const Call& c) {
  if (c.args.at("value").is_number_integer()) return c.number("value");
  return c.real("value");
}

// Takes a tensor as its second operand, or the number `value`.
Run binary(Tensor (*op)(Tensor, Tensor), Tensor (*with_number)(Tensor, Scalar)) {
  return [op, with_number](const Call& c) {
    return c.in.size() > 1 ? one(op(c[0], c[1])) : one(with_number(c[0], scalar_argument(c)));
  };
}

Tensor plus(Tensor a, Tensor b) { return add(std::move(a), std::move(b)); }

void add_pointwise(std::map<std::string, Run>& ops) {
  ops["add"] = binary(plus, add);
  ops["sub"] = binary(sub, sub);
  ops["mul"] = binary(mul, mul);
  ops["div"] = binary(div, div);
  ops["rsub"] = [](const Call& c) { return one(rsub(scalar_argument(c), c[0])); };
  ops["add_alpha"] = [](const Call& c) { return one(add(c[0], c[1], c.real("alpha"))); };
  ops["pow"] = [](const Call& c) { return one(pow(c[0], c.real("exponent"))); };
  ops["neg"] = unary(neg);
  ops["sqrt"] = unary(sqrt);
  ops["rsqrt"] = unary(rsqrt);
  ops["exp"] = unary(exp);
  ops["log"] = unary(log);
  ops["sin"] = unary(sin);
  ops["cos"] = unary(cos);
  ops["tanh"] = unary(tanh);
  ops["sigmoid"] = unary(sigmoid);
  ops["silu"] = unary(silu);
  ops["relu"] = unary(relu);
  ops["gelu"] = [](const Call& c) { return one(gelu(c[0])); };
  ops["gelu_tanh"] = [](const Call& c) { return one(gelu(c[0], Gelu::kTanh)); };
  ops["clone"] = unary(clone);
  ops["contiguous"] = unary(contiguous);
  ops["to"] = [](const Call& c) { return one(to(c[0], dtype_named(c.text("dtype")))); };
}

void add_views(std::map<std::string, Run>& ops) {
  ops["view"] = [](const Call& c) { return one(view(c[0], c.dims("size"))); };
  ops["reshape"] = [](const Call& c) { return one(reshape(c[0], c.dims("size"))); };
  ops["transpose"] = [](const Call& c) {
    return one(transpose(c[0], static_cast<int>(c.number("a")), static_cast<int>(c.number("b"))));
  };
  ops["t"] = unary(t);
  ops["permute"] = [](const Call& c) { return one(permute(c[0], c.dims("order"))); };
  ops["unsqueeze"] = [](const Call& c) { return one(unsqueeze(c[0], static_cast<int>(c.number("dim")))); };
  ops["squeeze"] = [](const Call& c) { return one(squeeze(c[0], static_cast<int>(c.number("dim")))); };
  ops["expand"] = [](const Call& c) { return one(expand(c[0], c.dims("size"))); };
  ops["flatten"] = [](const Call& c) {
    return one(flatten(c[0], static_cast<int>(c.number("first")), static_cast<int>(c.number("last", -1))));
  };
  ops["slice"] = [](const Call& c) {
    return one(slice(c[0], static_cast<int>(c.number("dim")), c.number("begin"), c.number("end"), c.number("step", 1)));
  };
  ops["narrow"] = [](const Call& c) {
    return one(narrow(c[0], static_cast<int>(c.number("dim")), c.number("begin"), c.number("length")));
  };
  ops["select"] = [](const Call& c) { return one(select(c[0], static_cast<int>(c.number("dim")), c.number("index"))); };
  ops["split"] = [](const Call& c) { return split(c[0], c.number("size"), static_cast<int>(c.number("dim"))); };
  ops["chunk"] = [](const Call& c) {
    return chunk(c[0], static_cast<int>(c.number("count")), static_cast<int>(c.number("dim")));
  };
  ops["cat"] = [](const Call& c) { return one(cat(c.in, static_cast<int>(c.number("dim")))); };
  ops["stack"] = [](const Call& c) { return one(stack(c.in, static_cast<int>(c.number("dim")))); };
  ops["detach"] = unary(detach);
}

void add_products(std::map<std::string, Run>& ops) {
  ops["mm"] = [](const Call& c) { return one(mm(c[0], c[1])); };
  ops["bmm"] = [](const Call& c) { return one(bmm(c[0], c[1])); };
  ops["addmm"] = [](const Call& c) { return one(addmm(c[0], c[1], c[2])); };
  ops["baddbmm"] = [](const Call& c) { return one(baddbmm(c[0], c[1], c[2])); };
  ops["matmul"] = [](const Call& c) { return one(matmul(c[0], c[1])); };
  ops["linear"] = [](const Call& c) { return one(linear(c[0], c[1], c.in.size() > 2 ? c[2] : Tensor())); };
}

void add_reductions(std::map<std::string, Run>& ops) {
  ops["sum"] = reduction(sum);
  ops["mean"] = reduction(mean);
}

std::optional<DType> wanted_type(const Call& c) {
  if (!c.args.contains("dtype")) return std::nullopt;
  return dtype_named(c.text("dtype"));
}

Tensor optional_input(const Call& c, std::size_t i) { return c.in.size() > i ? c[i] : Tensor(); }

int dim_of(const Call& c) { return static_cast<int>(c.number("dim")); }

LossReduction loss_reduction(const Call& c) {
  const std::string name = c.text("reduction", "mean");
  return name == "none" ? LossReduction::kNone : (name == "sum" ? LossReduction::kSum : LossReduction::kMean);
}

void add_losses(std::map<std::string, Run>& ops) {
  ops["softmax"] = [](const Call& c) { return one(softmax(c[0], dim_of(c), wanted_type(c))); };
  ops["log_softmax"] = [](const Call& c) { return one(log_softmax(c[0], dim_of(c), wanted_type(c))); };
  ops["nll_loss"] = [](const Call& c) { return one(nll_loss(c[0], c[1], loss_reduction(c))); };
  ops["cross_entropy"] = [](const Call& c) { return one(cross_entropy(c[0], c[1], loss_reduction(c))); };
  ops["mse_loss"] = [](const Call& c) { return one(mse_loss(c[0], c[1], loss_reduction(c))); };
}

void add_norms(std::map<std::string, Run>& ops) {
  ops["layer_norm"] = [](const Call& c) {
    return one(layer_norm(c[0], optional_input(c, 1), optional_input(c, 2), static_cast<int>(c.number("dims", 1))));
  };
  ops["rms_norm"] = [](const Call& c) { return one(rms_norm(c[0], optional_input(c, 1))); };
  ops["group_norm"] = [](const Call& c) {
    return one(group_norm(c[0], static_cast<int>(c.number("groups")), optional_input(c, 1), optional_input(c, 2)));
  };
}

void add_images(std::map<std::string, Run>& ops) {
  ops["conv2d"] = [](const Call& c) {
    return one(conv2d(c[0], c[1], optional_input(c, 2), {.stride = c.number("stride", 1), .padding = c.number("pad")}));
  };
  ops["batch_norm"] = [](const Call& c) { return one(batch_norm(c[0], c[1], c[2])); };
  ops["max_pool2d"] = [](const Call& c) {
    return one(
        max_pool2d(c[0], {.kernel = c.number("kernel"), .stride = c.number("stride"), .padding = c.number("pad")}));
  };
  ops["average_pool"] = [](const Call& c) { return one(average_pool_to_pixel(c[0])); };
  ops["upsample_nearest"] = [](const Call& c) {
    return one(upsample_nearest(c[0], c.number("factor") * c[0].size(2), c.number("factor") * c[0].size(3)));
  };
}

void add_lookups(std::map<std::string, Run>& ops) {
  ops["embedding"] = [](const Call& c) { return one(embedding(c[0], c[1])); };
  ops["dropout"] = [](const Call& c) { return one(dropout(c[0], c.real("p"))); };
  ops["where"] = [](const Call& c) {
    return c.in.size() > 2 ? one(where(c[0], c[1], c[2])) : one(where(c[0], c[1], scalar_argument(c)));
  };
  ops["masked_fill"] = [](const Call& c) { return one(masked_fill(c[0], c[1], scalar_argument(c))); };
  ops["lt"] = [](const Call& c) {
    return c.in.size() > 1 ? one(compare(c[0], c[1])) : one(compare(c[0], scalar_argument(c)));
  };
  ops["cumsum"] = [](const Call& c) { return one(cumsum(c[0], dim_of(c))); };
  ops["gather"] = [](const Call& c) { return one(gather(c[0], dim_of(c), c[1])); };
  ops["index_select"] = [](const Call& c) { return one(index_select(c[0], dim_of(c), c[1])); };
  ops["index_first"] = [](const Call& c) { return one(index_first(c[0], c[1])); };
  ops["attention"] = [](const Call& c) {
    const AttentionOptions options{
        .dropout = c.real("dropout"), .is_causal = c.flag("causal"), .enable_gqa = c.flag("gqa")};
    return one(scaled_dot_product_attention(c[0], c[1], c[2], optional_input(c, 3), options));
  };
  ops["sort"] = [](const Call& c) {
    auto [values, indices] = sort(c[0]);
    return std::vector<Tensor>{std::move(values), std::move(indices)};
  };
  ops["histc"] = [](const Call& c) { return one(histc(c[0], c.number("bins"))); };
  ops["cumsum_int32"] = [](const Call& c) { return one(cumsum(c[0], 0, DType::kInt32)); };
  ops["floor_divide"] = [](const Call& c) { return one(floor_divide(c[0], c.number("by"))); };
  ops["grouped_mm"] = [](const Call& c) { return one(grouped_mm(c[0], transpose(c[1], -2, -1), c[2])); };
  ops["div_"] = [](const Call& c) {
    const Tensor result = c[0] * 2.0;
    div_(result, c[1]);
    return one(result);
  };
  ops["topk"] = [](const Call& c) {
    auto [values, indices] = topk(c[0], c.number("k"), dim_of(c));
    return std::vector<Tensor>{std::move(values), std::move(indices)};
  };
}

const std::map<std::string, Run>& table() {
  static const std::map<std::string, Run> kOps = [] {
    std::map<std::string, Run> made;
    add_pointwise(made);
    add_views(made);
    add_products(made);
    add_reductions(made);
    add_losses(made);
    add_norms(made);
    add_lookups(made);
    add_images(made);
    return made;
  }();
  return kOps;
}

}  // namespace

Dims Call::dims(const char* name) const {
  Dims dims;
  for (const auto& value : args.at(name)) dims.push_back(value.get<std::int64_t>());
  return dims;
}

DType dtype_named(const std::string& name) {
  static const std::map<std::string, DType> kTypes = {
      {"bool", DType::kBool},         {"uint8", DType::kUInt8},     {"int8", DType::kInt8},
      {"int32", DType::kInt32},       {"int64", DType::kInt64},     {"float16", DType::kFloat16},
      {"bfloat16", DType::kBFloat16}, {"float32", DType::kFloat32}, {"float64", DType::kFloat64}};
  return kTypes.at(name);
}

std::vector<Tensor> run_op(const std::string& name, const Call& call) {
  const auto found = table().find(name);
  VRAMWISE_CHECK_THAT(found != table().end(), "no op " + name);
  return found->second(call);
}

}  // namespace vramwise::tape
