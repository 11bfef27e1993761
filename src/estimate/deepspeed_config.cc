// As deepspeed/runtime/config.py and zero/config.py of DeepSpeed 0.19.8 read it.

#include "estimate/deepspeed_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "estimate/deepspeed_section.h"

namespace vramwise {
namespace {

using tape::DType;
using Section = DeepSpeedSection;

// Those that are read for stage 3 only, and those that do nothing to memory.
constexpr std::string_view kWithoutEffect[] = {"stage",
                                               "allgather_partitions",
                                               "allgather_bucket_size",
                                               "load_from_fp32_weights",
                                               "ignore_unused_parameters",
                                               "sub_group_size",
                                               "prefetch_bucket_size",
                                               "param_persistence_threshold",
                                               "model_persistence_threshold",
                                               "max_live_parameters",
                                               "max_reuse_distance",
                                               "gather_16bit_weights_on_model_save",
                                               "module_granularity_threshold",
                                               "use_all_reduce_for_fetch_params",
                                               "memory_efficient_linear",
                                               "pipeline_loading_checkpoint",
                                               "override_module_apply",
                                               "log_trace_cache_warnings",
                                               "enable_sanity_checks",
                                               "leaf_module",
                                               "save_muon_momentum_buffer_in_memory"};
constexpr std::string_view kRead[] = {"contiguous_gradients",
                                      "reduce_scatter",
                                      "reduce_bucket_size",
                                      "use_multi_rank_bucket_allreduce",
                                      "overlap_comm",
                                      "compute_grad_norm",
                                      "elastic_checkpoint",
                                      "offload_param",
                                      "offload_optimizer",
                                      "zenflow",
                                      "cpu_offload",
                                      "cpu_offload_param",
                                      "cpu_offload_use_pin_memory",
                                      "legacy_stage1",
                                      "round_robin_gradients",
                                      "parameter_alignment",
                                      "zero_hpz_partition_size",
                                      "zero_quantized_weights",
                                      "zero_quantized_nontrainable_weights",
                                      "zero_quantized_gradients"};

// DeepSpeed stops at a key that it does not know.
void check_keys(Section& zero) {
  for (const auto& [key, value] : zero.json().items()) {
    const bool is_known = std::ranges::find(kRead, key) != std::end(kRead) ||
                          std::ranges::find(kWithoutEffect, key) != std::end(kWithoutEffect) ||
                          key.starts_with("stage3_");
    if (!is_known) zero.fail(deepspeed_stops(fmt::format("{}: {} is no setting of DeepSpeed's", zero.where(), key)));
  }
}

void require_on_card(Section& zero, const char* key) {
  Section offload(zero.json(), key, zero.where());
  if (offload.text("device", "none") != "none") zero.fail(unmodelled_setting(fmt::format("{}: {}", zero.where(), key)));
  if (const Status status = offload.status(); !status.ok()) zero.fail(status.error());
}

// DeepSpeed knows most keys with and without the prefix.
std::string stage3_key(const Section& zero, const std::string& name) {
  return zero.json().contains(name) ? name : "stage3_" + name;
}

void read_stage3(Section& zero, tape::Zero3Options& options) {
  const std::pair<const char*, std::int64_t*> sizes[] = {
      {"prefetch_bucket_size", &options.prefetch_bucket_size},
      {"param_persistence_threshold", &options.persistence_threshold},
      {"model_persistence_threshold", &options.model_persistence_threshold},
      {"max_live_parameters", &options.max_live_parameters},
      {"max_reuse_distance", &options.max_reuse_distance}};
  for (const auto& [name, value] : sizes) {
    const std::string key = stage3_key(zero, name);
    if (zero.has(key.c_str())) *value = zero.count(key.c_str(), 0, 0);
    if (zero.is_auto(key.c_str()) && value != &options.prefetch_bucket_size && value != &options.persistence_threshold)
      zero.fail(deepspeed_stops(
          fmt::format("{}: {} is \"auto\", which transformers' Trainer does not fill", zero.where(), key),
          "give the number"));
  }
  options.sub_group_size = zero.count("sub_group_size", options.sub_group_size, 0);
  if (zero.count(stage3_key(zero, "module_granularity_threshold").c_str(), 0, 0) != 0)
    zero.fail(unmodelled_setting("stage3_module_granularity_threshold"));
  for (const char* name : {"use_all_reduce_for_fetch_params", "allgather_sequential"})
    zero.require(stage3_key(zero, name).c_str(), false);
  zero.require("memory_efficient_linear", true);
  if (zero.has("leaf_module")) zero.fail(unmodelled_setting("leaf_module"));
}

tape::DeepSpeedOptions options_of(Section& zero) {
  tape::DeepSpeedOptions options;
  const std::int64_t stage = zero.count("stage", 0, 0);
  if (stage == 0)
    zero.fail(unmodelled_setting(fmt::format("{}: stage 0, which is DeepSpeed without ZeRO,", zero.where())));
  if (stage > 3) zero.fail(deepspeed_stops(fmt::format("{}: stage is {}; ZeRO has 1 to 3", zero.where(), stage)));
  options.stage = static_cast<int>(std::clamp<std::int64_t>(stage, 0, 3));
  check_keys(zero);
  options.reduce_bucket_size = zero.count("reduce_bucket_size", options.reduce_bucket_size);
  options.overlaps = zero.flag("overlap_comm", options.stage == 3);
  options.reduces_to_owner = zero.flag("reduce_scatter", true);
  options.reduces_at_once = zero.flag("use_multi_rank_bucket_allreduce", true);
  options.round_robin = zero.flag("round_robin_gradients", false);
  options.copies_gradients = zero.flag("contiguous_gradients", true);
  if (options.stage < 3) zero.require("contiguous_gradients", true);
  zero.require("compute_grad_norm", true);
  if (options.stage == 3) read_stage3(zero, options.zero3);
  for (const char* key :
       {"cpu_offload", "cpu_offload_param", "elastic_checkpoint", "legacy_stage1", "parameter_alignment",
        "zero_quantized_weights", "zero_quantized_nontrainable_weights", "zero_quantized_gradients"})
    zero.require(key, false);
  if (zero.count("zero_hpz_partition_size", 1) != 1) zero.fail(unmodelled_setting("zero_hpz_partition_size"));
  if (zero.has("zenflow")) zero.fail(unmodelled_setting("ZenFlow"));
  require_on_card(zero, "offload_optimizer");
  require_on_card(zero, "offload_param");
  return options;
}

// Types of communication and of gradients that are not those of the computation would be copies.
Status check_types(Section& all, DType computed) {
  const std::pair<const char*, DType> names[] = {{"fp32", DType::kFloat32},  {"float32", DType::kFloat32},
                                                 {"fp16", DType::kFloat16},  {"float16", DType::kFloat16},
                                                 {"bf16", DType::kBFloat16}, {"bfloat16", DType::kBFloat16},
                                                 {"bfp16", DType::kBFloat16}};
  const auto is_same = [&](const std::string& name) {
    return name.empty() ||
           std::ranges::any_of(names, [&](const auto& each) { return name == each.first && computed == each.second; });
  };
  if (!is_same(all.text("communication_data_type", "")))
    return unmodelled_setting("a communication_data_type other than that of the computation");
  Section types(all.json(), "data_types", all.where());
  for (const char* key : {"grad_accum_dtype", "param_dtype", "buffer_dtype"})
    if (!is_same(types.text(key, ""))) return unmodelled_setting(fmt::format("data_types: {}", key));
  if (types.has("keep_in_fp32_modules")) return unmodelled_setting("data_types: keep_in_fp32_modules");
  VRAMWISE_RETURN_IF_ERROR(types.status());
  return all.status();
}

Status read_precision(Section& all, DeepSpeedConfig& config) {
  Section fp16(all.json(), "fp16", all.where());
  Section bf16(all.json(), all.json().contains("bfloat16") ? "bfloat16" : "bf16", all.where());
  const bool is_fp16 = fp16.flag("enabled", false);
  const bool is_bf16 = bf16.flag("enabled", false);
  if (is_fp16 && is_bf16)
    return deepspeed_stops(fmt::format("{}: fp16 and bf16 are both enabled", all.where()),
                           "DeepSpeed takes one of them");
  fp16.require("fp16_master_weights_and_grads", false);
  fp16.require("auto_cast", false);
  bf16.require("bf16_master_weights_and_grads", false);
  bf16.require("bf16_optimizer_states", false);
  const bool checks = bf16.flag("check_grad_overflow", true);
  VRAMWISE_RETURN_IF_ERROR(fp16.status());
  VRAMWISE_RETURN_IF_ERROR(bf16.status());
  config.options.checks_overflow = is_fp16 || (is_bf16 && checks);
  if (fp16.is_auto("enabled") || bf16.is_auto("enabled")) {
    config.options.checks_overflow = checks;
    return check_types(all, DType::kFloat32);
  }
  config.computed = is_fp16 ? DType::kFloat16 : is_bf16 ? DType::kBFloat16 : DType::kFloat32;
  return check_types(all, *config.computed);
}

Status read_optimizer(Section& all, DeepSpeedConfig& config) {
  if (!all.has("optimizer")) return Done{};
  Section optimizer(all.json(), "optimizer", all.where());
  std::string type = optimizer.text("type", "");
  Section parameters(optimizer.json(), "params", optimizer.where());
  const bool is_torch = parameters.flag("torch_adam", false);
  const bool is_fused = parameters.flag("fused", false);
  const bool is_loop = !parameters.flag("foreach", true);
  VRAMWISE_RETURN_IF_ERROR(optimizer.status());
  VRAMWISE_RETURN_IF_ERROR(parameters.status());
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (type != "adam" && type != "adamw")
    return incomplete(
        fmt::format("{}: optimizer {} of DeepSpeed's own is not modelled", all.where(), optimizer.text("type", "?")),
        "Adam and AdamW are; `vramwise dryrun` measures others");
  config.options.has_fused_adam = !is_torch;
  config.optimizer = TrainingOptimizer::kAdamW;
  if (is_torch && is_loop) config.optimizer = TrainingOptimizer::kAdamWLoop;
  if (is_torch && is_fused) config.optimizer = TrainingOptimizer::kAdamWFused;
  return Done{};
}

Status check_others(Section& all) {
  for (const char* key : {"amp", "torch_autocast", "hybrid_engine"}) {
    Section section(all.json(), key, all.where());
    if (section.flag("enabled", false)) return unmodelled_setting(fmt::format("{}: {}", all.where(), key));
    VRAMWISE_RETURN_IF_ERROR(section.status());
  }
  for (const char* key : {"sequence_parallel_size", "tensor_parallel", "zenflow", "expert_parallel", "compile"})
    if (all.has(key)) return unmodelled_setting(fmt::format("{}: {}", all.where(), key));
  all.require("managed_gradient_accumulation", true);
  all.require("sparse_gradients", false);
  return all.status();
}

/// Which sizes are left to the trainer, and which the file tells.
void read_sizes(Section& zero, DeepSpeedConfig& config) {
  config.leaves_bucket = zero.is_auto("reduce_bucket_size");
  config.leaves_prefetch = zero.is_auto(stage3_key(zero, "prefetch_bucket_size").c_str());
  config.leaves_persistence = zero.is_auto(stage3_key(zero, "param_persistence_threshold").c_str());
  for (const char* key : {"reduce_bucket_size", "overlap_comm"})
    if (zero.has(key) || zero.is_auto(key)) config.told.emplace(key);
  for (const char* name : {"prefetch_bucket_size", "param_persistence_threshold"})
    if (const std::string key = stage3_key(zero, name); zero.has(key.c_str()) || zero.is_auto(key.c_str()))
      config.told.emplace(std::string("stage3_") + name);
}

void read_batch(Section& all, DeepSpeedConfig& config) {
  if (all.has("train_batch_size")) config.train_batch = all.count("train_batch_size", 1);
  if (all.has("train_micro_batch_size_per_gpu")) config.micro_batch = all.count("train_micro_batch_size_per_gpu", 1);
  if (all.has("gradient_accumulation_steps")) config.passes = all.count("gradient_accumulation_steps", 1);
  config.leaves_micro_batch = all.is_auto("train_micro_batch_size_per_gpu");
  config.leaves_passes = all.is_auto("gradient_accumulation_steps");
  config.leaves_train_batch = all.is_auto("train_batch_size");
}

}  // namespace

Result<DeepSpeedConfig> parse_deepspeed_config(const std::string& text, const std::string& where) {
  VRAMWISE_ASSIGN_OR_RETURN(Json json, parse_json(text, where));
  if (!json.is_object()) return deepspeed_stops(fmt::format("{} is no configuration of DeepSpeed", where));
  if (!json.contains("zero_optimization"))
    return unmodelled_setting(fmt::format("{} without zero_optimization, that is DeepSpeed without ZeRO,", where));
  Json& described = json.at("zero_optimization");
  // read_zero_config_deprecated: a form of old, which transformers' Trainer does not take.
  if (described.is_boolean()) described = {{"stage", described.get<bool>() ? 1 : 0}};
  if (!described.is_object())
    return deepspeed_stops(fmt::format("{}: zero_optimization must be an object, or true", where));
  Section all(json, where);
  Section zero(json, "zero_optimization", where, DeepSpeedReader::kPydantic);
  DeepSpeedConfig config;
  config.options = options_of(zero);
  read_sizes(zero, config);
  if (all.has("gradient_clipping")) config.told.emplace("gradient_clipping");
  VRAMWISE_RETURN_IF_ERROR(zero.status());
  VRAMWISE_RETURN_IF_ERROR(read_precision(all, config));
  VRAMWISE_RETURN_IF_ERROR(read_optimizer(all, config));
  VRAMWISE_RETURN_IF_ERROR(check_others(all));
  read_batch(all, config);
  if (!all.is_auto("gradient_clipping")) config.clips = all.number("gradient_clipping", 1) > 0;
  VRAMWISE_RETURN_IF_ERROR(all.status());
  return config;
}

// trainer_config_finalize of transformers 5 (integrations/deepspeed.py).
Status fill_sizes(DeepSpeedConfig& config, std::int64_t hidden_size, const std::string& where) {
  const bool is_stage3 = config.options.stage == 3;
  const bool leaves = config.leaves_bucket || (is_stage3 && (config.leaves_prefetch || config.leaves_persistence));
  if (leaves && hidden_size <= 0)
    return usage_error(fmt::format("{}: sizes are \"auto\", which follow from a model's hidden_size", where),
                       "give the numbers");
  const std::int64_t square = hidden_size * hidden_size;
  if (config.leaves_bucket) config.options.reduce_bucket_size = square;
  if (config.leaves_prefetch)
    config.options.zero3.prefetch_bucket_size = static_cast<std::int64_t>(0.9 * static_cast<double>(square));
  if (config.leaves_persistence) config.options.zero3.persistence_threshold = 10 * hidden_size;
  return Done{};
}

// _set_batch_related_parameters and _batch_assertion; where "auto" stands, transformers' fill_match.
Result<DeepSpeedBatch> share_out_batch(const DeepSpeedConfig& config, std::int64_t ranks,
                                       std::int64_t given_micro_batch, std::int64_t given_passes,
                                       const std::string& where) {
  DeepSpeedBatch batch{.micro_batch = config.micro_batch, .passes = config.passes};
  if (!config.train_batch && !config.leaves_train_batch && !config.micro_batch && !config.leaves_micro_batch)
    return deepspeed_stops(
        fmt::format("{} has neither train_batch_size nor train_micro_batch_size_per_gpu, at which DeepSpeed stops",
                    where),
        "\"train_micro_batch_size_per_gpu\": \"auto\" leaves it to the trainer");
  if (!config.train_batch) return batch;
  if (config.leaves_micro_batch) batch.micro_batch = given_micro_batch;
  if (config.leaves_passes) batch.passes = given_passes;
  const bool is_known = batch.micro_batch.value_or(0) > 0;
  if (!batch.passes) batch.passes = is_known ? *config.train_batch / *batch.micro_batch / ranks : 1;
  if (!batch.micro_batch && *batch.passes > 0) batch.micro_batch = *config.train_batch / ranks / *batch.passes;
  if (batch.micro_batch.value_or(0) * *batch.passes * ranks == *config.train_batch) return batch;
  const bool is_of_file = !config.leaves_micro_batch && !config.leaves_passes;
  return Error{is_of_file ? ErrorCode::kWorld : ErrorCode::kUsage,
               fmt::format("{}: train_batch_size {} is not micro-batch {} times {} passes times {} cards", where,
                           *config.train_batch, batch.micro_batch.value_or(0), *batch.passes, ranks),
               "DeepSpeed stops there"};
}

}  // namespace vramwise
