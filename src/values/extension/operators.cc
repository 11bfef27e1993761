// An operator is looked at once, when first called. Which operators are leaves: those with a CUDA kernel. Composite
// operators call others through the dispatcher, which are seen by themselves; copy_ is the exception that is composite
// and yet does the work.
#include "values/extension/operators.h"

#include <ATen/core/enum_tag.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace vramwise::values {
namespace {

using Names = std::unordered_set<std::string_view>;

const std::unordered_map<std::string_view, Special>& specials() {
  static const std::unordered_map<std::string_view, Special> kTable = {
      {"copy_", Special::kCopy},
      {"_local_scalar_dense", Special::kScalarRead},
      {"equal", Special::kEqual},
      {"nonzero", Special::kNonzero},
      {"_unique", Special::kUnique},
      {"_unique2", Special::kUnique},
      {"unique_consecutive", Special::kUnique},
      {"unique_dim", Special::kUnique},
      {"unique_dim_consecutive", Special::kUnique},
      {"topk", Special::kTopK},
      {"sort", Special::kSort},
      {"argmax", Special::kArgExtreme},
      {"argmin", Special::kArgExtreme},
      {"isnan", Special::kIsNan},
      {"isposinf", Special::kIsSignedInf},
      {"isneginf", Special::kIsSignedInf},
      {"multinomial", Special::kMultinomial},
      {"_amp_foreach_non_finite_check_and_unscale_", Special::kUnscale},
      {"histc", Special::kHistogram},
  };
  return kTable;
}

const Names& compared() {
  static const Names kNames = {"eq", "ne", "lt", "le", "gt", "ge"};
  return kNames;
}

/// Memory without contents, questions, and what only changes how memory is looked at.
const Names& without_values() {
  static const Names kNames = {"empty",
                               "empty_strided",
                               "resize_",
                               "set_",
                               "record_stream",
                               "is_pinned",
                               "_pin_memory",
                               "is_set_to",
                               "_fused_sdp_choice",
                               "_efficientzerotensor",
                               "_assert_async",
                               "_nested_tensor_from_mask_left_aligned",
                               "_cudnn_init_dropout_state",
                               "_copy_from",
                               "_copy_from_and_resize"};
  return kNames;
}

/// Cost grows faster than the number of elements.
bool is_heavy(std::string_view name) {
  static const Names kNames = {"mm",
                               "bmm",
                               "addmm",
                               "addbmm",
                               "baddbmm",
                               "addmv",
                               "addr",
                               "dot",
                               "vdot",
                               "_int_mm",
                               "_scaled_mm",
                               "_grouped_mm",
                               "_scaled_grouped_mm",
                               "_cdist_forward",
                               "_cdist_backward",
                               "_addmm_activation",
                               "lstsq",
                               "_ctc_loss",
                               "_ctc_loss_backward",
                               "_embedding_bag",
                               "_histogramdd_bin_edges",
                               "_efficient_attention_forward"};
  static constexpr std::string_view kParts[] = {"conv",         "attention", "linalg",   "fft",  "upsample",
                                                "grid_sampler", "cudnn",     "miopen",   "lstm", "gru",
                                                "rnn",          "pool",      "cholesky", "pdist"};
  return kNames.contains(name) || std::any_of(std::begin(kParts), std::end(kParts), [&](std::string_view part) {
           return name.find(part) != std::string_view::npos;
         });
}

const Names& overwriting() {
  static const Names kNames = {"copy_",          "fill_",          "zero_",          "random_",       "uniform_",
                               "normal_",        "exponential_",   "cauchy_",        "geometric_",    "log_normal_",
                               "_foreach_copy_", "_foreach_zero_", "_cummax_helper", "_cummin_helper"};
  return kNames;
}

const Names& keeping_uniform() {
  static const Names kNames = {
      "fill_",       "zero_",       "copy_",        "add",         "add_",        "sub",         "sub_",
      "mul",         "mul_",        "div",          "div_",        "neg",         "abs",         "eq",
      "ne",          "lt",          "le",           "gt",          "ge",          "logical_and", "logical_or",
      "logical_not", "logical_xor", "bitwise_and",  "bitwise_or",  "bitwise_not", "bitwise_xor", "isnan",
      "all",         "any",         "max",          "min",         "amax",        "amin",        "maximum",
      "minimum",     "where",       "clamp",        "clamp_",      "clamp_min",   "clamp_max",   "masked_fill_",
      "eq_",         "ne_",         "bitwise_and_", "bitwise_or_", "mean"};
  return kNames;
}

const Names& scattering() {
  static const Names kNames = {"scatter_",         "scatter_add_", "index_fill_", "index_put_",
                               "_index_put_impl_", "index_add_",   "scatter"};
  return kNames;
}

/// "aten::add" → "add"; empty where the namespace is another.
std::string_view aten_name(const std::string& full) {
  constexpr std::string_view kPrefix = "aten::";
  return full.starts_with(kPrefix) ? std::string_view(full).substr(kPrefix.size()) : std::string_view();
}

bool is_tensor_like(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return true;
    case c10::TypeKind::OptionalType:
    case c10::TypeKind::ListType:
      return !type->containedTypes().empty() && is_tensor_like(type->containedTypes()[0]);
    default:
      return false;
  }
}

/// Arguments and returns; false: it neither returns nor changes a tensor.
bool read_schema(const c10::FunctionSchema& schema, Operator& op) {
  op.argument_count = schema.arguments().size();
  op.is_written.assign(op.argument_count, false);
  for (std::size_t i = 0; i < schema.arguments().size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) {
      op.written.push_back(i);
      op.is_written[i] = true;
      op.out_variant = op.out_variant || argument.is_out();
    }
    const std::string type = argument.type()->str();
    if (type.starts_with("Generator")) op.generator = static_cast<int>(i);
  }
  bool view = false;
  for (const c10::Argument& result : schema.returns()) {
    const c10::AliasInfo* alias = result.alias_info();
    view = view || (alias != nullptr && !alias->isWrite());
    op.returns_fresh = op.returns_fresh || (alias == nullptr && is_tensor_like(result.type()));
  }
  return !view && (op.returns_fresh || !op.written.empty());
}

Special special_of(std::string_view name, const std::string& overload) {
  if (compared().contains(name)) {
    if (overload.starts_with("Scalar")) return Special::kCompareScalar;
    return overload.starts_with("Tensor") ? Special::kCompareTensor : Special::kNone;
  }
  if ((name == "max" || name == "min") && overload.starts_with("dim")) return Special::kExtremeOfDim;
  const auto found = specials().find(name);
  return found == specials().end() ? Special::kNone : found->second;
}

void classify(Operator& op) {
  const c10::FunctionSchema& schema = op.handle.schema();
  const bool has_tensors = read_schema(schema, op);
  const std::string_view name = aten_name(schema.name());
  if (name.empty()) {
    const bool collective = schema.name().starts_with("c10d::");
    if (collective) op.special = Special::kCollective;
    if (collective || !op.written.empty()) op.kind = Kind::kForeign;
    return;
  }
  op.special = special_of(name, schema.overload_name());
  const bool reads = op.special == Special::kScalarRead || op.special == Special::kEqual;
  if ((!has_tensors && !reads) || without_values().contains(name)) return;
  if (!op.handle.hasKernelForDispatchKey(c10::DispatchKey::CUDA) && op.special != Special::kCopy) return;
  op.kind = Kind::kLeaf;
  op.random = op.generator >= 0 || op.handle.hasTag(at::Tag::nondeterministic_seeded);
  op.heavy = is_heavy(name);
  op.overwrites = overwriting().contains(name);
  op.uniform = keeping_uniform().contains(name);
  op.scatters = scattering().contains(name);
}

const Operator* look_up_schema(const at::RecordFunction& function) {
  const auto name = function.operator_name();
  if (!name.has_value()) return nullptr;
  const auto handle = c10::Dispatcher::singleton().findSchema(*name);
  if (!handle.has_value()) return nullptr;
  auto op = std::make_unique<Operator>(*handle);
  op->name = handle->schema().name();
  classify(*op);
  return op.release();  // lives as long as the process, as the dispatcher's own tables do
}

}  // namespace

const Operator* operator_of(const at::RecordFunction& function) {
  // A schema keeps its name in one place, so the address of the name stands for the operator.
  static thread_local std::unordered_map<const char*, const Operator*> seen;
  const char* name = function.name();
  const auto found = seen.find(name);
  if (found != seen.end()) return found->second;
  static std::mutex mutex;
  static auto& all = *new std::unordered_map<const char*, const Operator*>;
  const std::lock_guard<std::mutex> lock(mutex);
  auto known = all.find(name);
  if (known == all.end()) {
    const Operator* op = look_up_schema(function);
    if (op == nullptr) return nullptr;  // its name may be a text that goes away
    known = all.emplace(name, op).first;
  }
  seen.emplace(name, known->second);
  return known->second;
}

}  // namespace vramwise::values
