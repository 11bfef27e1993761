// Names of arguments are those of transformers 5.24, accelerate 1.14, PyTorch 2.14, Liger-Kernel 0.8, bitsandbytes
// 0.50.
#include "plan/training/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace vramwise {
namespace {

constexpr Trainer kOwn = Trainer::kOwn, kHf = Trainer::kTransformers, kAcc = Trainer::kAccelerate,
                  kFsdp = Trainer::kFsdp2;

constexpr const char* kEnable = "model.gradient_checkpointing_enable()";
// The policy of torchtitan (SelectiveAC), as the estimate has it (tape/transforms/selective.h).
constexpr const char* kSelective =
    "def selective():\n"
    "    aten, products = torch.ops.aten, {again: itertools.count(1) for again in (False, True)}\n"
    "    kept = {aten.addmm.default, aten.bmm.default, aten._scaled_dot_product_flash_attention.default,\n"
    "            aten._scaled_dot_product_efficient_attention.default, "
    "aten._scaled_dot_product_cudnn_attention.default}\n"
    "    def policy(context, op, *_, **__):\n"
    "        keeps = next(products[context.is_recompute]) % 2 == 1 if op is aten.mm.default else op in kept\n"
    "        return CheckpointPolicy.MUST_SAVE if keeps else CheckpointPolicy.PREFER_RECOMPUTE\n"
    "    return create_selective_checkpoint_contexts(policy)";
constexpr const char* kImportSelective =
    "import itertools\n"
    "from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts";
constexpr const char* kEnableSelective =
    "model.gradient_checkpointing_enable({\"use_reentrant\": False, \"context_fn\": selective})";
constexpr const char* kFirst =
    "for layer in [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)][{}:]:\n"
    "    layer.gradient_checkpointing = False";
constexpr const char* kImportLayer = "from transformers.modeling_layers import GradientCheckpointingLayer";
constexpr const char* kLiger =
    "_apply_liger_kernel_to_instance(model=model, rope=False, rms_norm=False, swiglu=False, cross_entropy=False,\n"
    "                                fused_linear_cross_entropy=True)";
constexpr const char* kImportLiger = "from liger_kernel.transformers import _apply_liger_kernel_to_instance";
constexpr const char* kLora =
    "model = get_peft_model(model, LoraConfig(r={}, target_modules=\"all-linear\", task_type=\"CAUSAL_LM\"))";
constexpr const char* kImportLora = "from peft import LoraConfig, get_peft_model";
constexpr const char* kFused = "optimizer = torch.optim.AdamW(model.parameters(), fused=True)";
constexpr const char* kForeach = "optimizer = torch.optim.AdamW(model.parameters(), foreach=True)";
constexpr const char* kForLoop = "optimizer = torch.optim.AdamW(model.parameters(), foreach=False)";
constexpr const char* k8bit = "optimizer = bnb.optim.AdamW8bit(model.parameters())";
constexpr const char* kPaged8bit = "optimizer = bnb.optim.PagedAdamW8bit(model.parameters())";
constexpr const char* kImportBnb = "import bitsandbytes as bnb";
// An optimizer of one's own takes the rate and the decay that TrainingArguments has by default.
constexpr const char* kHfForeach =
    "optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, foreach=True)";
constexpr const char* kHfForLoop =
    "optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, foreach=False)";
constexpr const char* kHf8bit = "optimizer = bnb.optim.AdamW8bit(model.parameters(), lr=5e-5, weight_decay=0.0)";
constexpr const char* kHfPaged8bit =
    "optimizer = bnb.optim.PagedAdamW8bit(model.parameters(), lr=5e-5, weight_decay=0.0)";
constexpr const char* kOwnOptimizer = "optimizers=(optimizer, None),";
constexpr const char* kBf16 = "dtype=torch.bfloat16,";
constexpr const char* kFp16 = "dtype=torch.float16,";
constexpr const char* kFp32 = "dtype=torch.float32,";
constexpr const char* kExpandable = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True";
// clang-format off: a row a line
constexpr Words kWords[] = {
    {"micro_batch", nullptr, kOwn, Place::kFlag, "--batch_size {}"},
    {"micro_batch", nullptr, kHf, Place::kArgument, "per_device_train_batch_size={},"},
    {"micro_batch", nullptr, kAcc, Place::kLoader, "batch_size={}"},
    {"micro_batch", nullptr, kFsdp, Place::kLoader, "batch_size={}"},

    {"accumulation", nullptr, kOwn, Place::kFlag, "--gradient_accumulation_steps {}"},
    {"accumulation", nullptr, kHf, Place::kArgument, "gradient_accumulation_steps={},"},
    {"accumulation", nullptr, kAcc, Place::kArgument, "gradient_accumulation_steps={},"},
    {"accumulation", nullptr, kFsdp, Place::kLoop, "{}"},

    {"checkpointing", "none", kOwn, Place::kFlag, "--gradient_checkpointing none"},
    {"checkpointing", "first", kOwn, Place::kFlag, "--gradient_checkpointing {}"},
    {"checkpointing", "every", kOwn, Place::kFlag, "--gradient_checkpointing all"},
    {"checkpointing", "none", kHf, Place::kArgument, "use_cache=True,"},  // as the estimate has it; the default is False
    {"checkpointing", "every", kHf, Place::kArgument, "gradient_checkpointing=True,"},
    {"checkpointing", "every, under adapters", kHf, Place::kModelCode, kEnable},
    {"checkpointing", "none", kAcc, Place::kModelCode, ""},
    {"checkpointing", "every", kAcc, Place::kModelCode, kEnable},
    {"checkpointing", "every, under adapters", kAcc, Place::kModelCode, kEnable},
    {"checkpointing", "none", kFsdp, Place::kModelCode, ""},
    {"checkpointing", "every", kFsdp, Place::kModelCode, kEnable},
    {"checkpointing", "every, under adapters", kFsdp, Place::kModelCode, kEnable},
    {"checkpointing", "first", kHf, Place::kModelCode, kEnable},
    {"checkpointing", "first", kHf, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kHf, Place::kModelCode, kSelective},
    {"checkpointing", "first, selective", kHf, Place::kModelCode, kEnableSelective},
    {"checkpointing", "first, selective", kHf, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kHf, Place::kImport, kImportSelective},
    {"checkpointing", "every, selective", kHf, Place::kModelCode, kSelective},
    {"checkpointing", "every, selective", kHf, Place::kModelCode, kEnableSelective},
    {"checkpointing", "every, selective", kHf, Place::kImport, kImportSelective},
    {"checkpointing", "first", kHf, Place::kImport, kImportLayer},
    {"checkpointing", "first, selective", kHf, Place::kImport, kImportLayer},
    {"checkpointing", "first", kAcc, Place::kModelCode, kEnable},
    {"checkpointing", "first", kAcc, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kAcc, Place::kModelCode, kSelective},
    {"checkpointing", "first, selective", kAcc, Place::kModelCode, kEnableSelective},
    {"checkpointing", "first, selective", kAcc, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kAcc, Place::kImport, kImportSelective},
    {"checkpointing", "every, selective", kAcc, Place::kModelCode, kSelective},
    {"checkpointing", "every, selective", kAcc, Place::kModelCode, kEnableSelective},
    {"checkpointing", "every, selective", kAcc, Place::kImport, kImportSelective},
    {"checkpointing", "first", kAcc, Place::kImport, kImportLayer},
    {"checkpointing", "first, selective", kAcc, Place::kImport, kImportLayer},
    {"checkpointing", "first", kFsdp, Place::kModelCode, kEnable},
    {"checkpointing", "first", kFsdp, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kFsdp, Place::kModelCode, kSelective},
    {"checkpointing", "first, selective", kFsdp, Place::kModelCode, kEnableSelective},
    {"checkpointing", "first, selective", kFsdp, Place::kModelCode, kFirst},
    {"checkpointing", "first, selective", kFsdp, Place::kImport, kImportSelective},
    {"checkpointing", "every, selective", kFsdp, Place::kModelCode, kSelective},
    {"checkpointing", "every, selective", kFsdp, Place::kModelCode, kEnableSelective},
    {"checkpointing", "every, selective", kFsdp, Place::kImport, kImportSelective},

    {"recomputed", "whole layers", kHf, Place::kModelCode, ""},
    {"recomputed", "selective", kHf, Place::kModelCode, ""},
    {"recomputed", "whole layers", kAcc, Place::kModelCode, ""},
    {"recomputed", "selective", kAcc, Place::kModelCode, ""},
    {"recomputed", "whole layers", kFsdp, Place::kModelCode, ""},
    {"recomputed", "selective", kFsdp, Place::kModelCode, ""},

    {"optimizer", "fused", kHf, Place::kArgument, "optim=\"adamw_torch_fused\","},
    {"optimizer", "foreach", kHf, Place::kOptimizer, kHfForeach},
    {"optimizer", "foreach", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "for-loop", kHf, Place::kOptimizer, kHfForLoop},
    {"optimizer", "for-loop", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "8-bit", kHf, Place::kOptimizer, kHf8bit},
    {"optimizer", "8-bit", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "8-bit", kHf, Place::kImport, kImportBnb},
    {"optimizer", "8-bit, paged", kHf, Place::kOptimizer, kHfPaged8bit},
    {"optimizer", "8-bit, paged", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "8-bit, paged", kHf, Place::kImport, kImportBnb},
    {"optimizer", "fused", kAcc, Place::kOptimizer, kFused},
    {"optimizer", "foreach", kAcc, Place::kOptimizer, kForeach},
    {"optimizer", "for-loop", kAcc, Place::kOptimizer, kForLoop},
    {"optimizer", "8-bit", kAcc, Place::kOptimizer, k8bit},
    {"optimizer", "8-bit", kAcc, Place::kImport, kImportBnb},
    {"optimizer", "8-bit, paged", kAcc, Place::kOptimizer, kPaged8bit},
    {"optimizer", "8-bit, paged", kAcc, Place::kImport, kImportBnb},
    {"optimizer", "fused", kFsdp, Place::kOptimizer, kFused},
    {"optimizer", "foreach", kFsdp, Place::kOptimizer, kForeach},
    {"optimizer", "for-loop", kFsdp, Place::kOptimizer, kForLoop},

    {"attention", nullptr, kHf, Place::kModelArgument, "attn_implementation=\"{}\","},
    {"attention", nullptr, kAcc, Place::kModelArgument, "attn_implementation=\"{}\","},
    {"attention", nullptr, kFsdp, Place::kModelArgument, "attn_implementation=\"{}\","},

    {"loss", "whole", kHf, Place::kModelCode, ""},
    {"loss", "liger", kHf, Place::kModelCode, kLiger},
    {"loss", "liger", kHf, Place::kImport, kImportLiger},
    {"loss", "whole", kAcc, Place::kModelCode, ""},
    {"loss", "liger", kAcc, Place::kModelCode, kLiger},
    {"loss", "liger", kAcc, Place::kImport, kImportLiger},
    {"loss", "whole", kFsdp, Place::kModelCode, ""},
    {"loss", "liger", kFsdp, Place::kModelCode, kLiger},
    {"loss", "liger", kFsdp, Place::kImport, kImportLiger},

    {"precision", nullptr, kOwn, Place::kFlag, "--precision {}"},
    {"precision", "fp32", kHf, Place::kModelArgument, kFp32},
    {"precision", "bf16", kHf, Place::kModelArgument, kBf16},
    {"precision", "fp16", kHf, Place::kModelArgument, kFp16},
    {"precision", "bf16-mixed", kHf, Place::kModelArgument, kFp32},
    {"precision", "bf16-mixed", kHf, Place::kArgument, "bf16=True,"},
    {"precision", "fp16-mixed", kHf, Place::kModelArgument, kFp32},
    {"precision", "fp16-mixed", kHf, Place::kArgument, "fp16=True,"},
    {"precision", "fp32", kAcc, Place::kModelArgument, kFp32},
    {"precision", "fp32", kAcc, Place::kAccelerate, "mixed_precision: 'no'"},
    {"precision", "bf16", kAcc, Place::kModelArgument, kBf16},
    {"precision", "bf16", kAcc, Place::kAccelerate, "mixed_precision: 'no'"},
    {"precision", "fp16", kAcc, Place::kModelArgument, kFp16},
    {"precision", "fp16", kAcc, Place::kAccelerate, "mixed_precision: 'no'"},
    {"precision", "bf16-mixed", kAcc, Place::kModelArgument, kFp32},
    {"precision", "bf16-mixed", kAcc, Place::kAccelerate, "mixed_precision: bf16"},
    {"precision", "fp16-mixed", kAcc, Place::kModelArgument, kFp32},
    {"precision", "fp16-mixed", kAcc, Place::kAccelerate, "mixed_precision: fp16"},
    {"precision", "fp32", kFsdp, Place::kModelArgument, kFp32},
    {"precision", "bf16", kFsdp, Place::kModelArgument, kBf16},
    {"precision", "fp16", kFsdp, Place::kModelArgument, kFp16},
    {"precision", "bf16-mixed", kFsdp, Place::kModelArgument, kFp32},
    {"precision", "bf16-mixed", kFsdp, Place::kPolicy, "mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)"},

    {"sharing", "ddp", kHf, Place::kArgument, "ddp_find_unused_parameters=False,"},
    {"sharing", "ddp", kHf, Place::kLaunch, "torchrun --nproc_per_node {} train.py"},
    {"sharing", "ddp", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "ddp, bucket views", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "ddp, bucket views", kAcc, Place::kImport, "from accelerate.utils import DistributedDataParallelKwargs"},
    {"sharing", "ddp, bucket views", kAcc, Place::kArgument, "kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],"},
    {"sharing", "fsdp2, kept after forward", kFsdp, Place::kShard, "reshard_after_forward=False"},
    {"sharing", "fsdp2", kFsdp, Place::kShard, "reshard_after_forward=True"},

    {"segments", "fixed", kHf, Place::kEnvironment, ""},
    {"segments", "expandable", kHf, Place::kEnvironment, kExpandable},
    {"segments", "fixed", kAcc, Place::kEnvironment, ""},
    {"segments", "expandable", kAcc, Place::kEnvironment, kExpandable},
    {"segments", "fixed", kFsdp, Place::kEnvironment, ""},
    {"segments", "expandable", kFsdp, Place::kEnvironment, kExpandable},

    {"lora", "off", kHf, Place::kModelCode, ""},
    {"lora", "on", kHf, Place::kModelCode, kLora},
    {"lora", "on", kHf, Place::kImport, kImportLora},
    {"lora", "off", kAcc, Place::kModelCode, ""},
    {"lora", "on", kAcc, Place::kModelCode, kLora},
    {"lora", "on", kAcc, Place::kImport, kImportLora},
    {"lora", "off", kFsdp, Place::kModelCode, ""},
    {"lora", "on", kFsdp, Place::kModelCode, kLora},
    {"lora", "on", kFsdp, Place::kImport, kImportLora},

    {"seq_len", nullptr, kOwn, Place::kFlag, "--seq_len {}"},
    {"seq_len", nullptr, kHf, Place::kLength, "{}"},
    {"seq_len", nullptr, kAcc, Place::kLength, "{}"},
    {"seq_len", nullptr, kFsdp, Place::kLength, "{}"},

    {"loss_chunks", nullptr, kOwn, Place::kFlag, "--loss_chunk_tokens {}"},
    {"optimizer_offload", nullptr, kOwn, Place::kFlag, "--cpu_offload on"},
};
// clang-format on

const char* const kPlaceNames[] = {"flag",       "environment", "launch",   "import",  "model_argument",
                                   "model_code", "optimizer",   "argument", "trainer", "shard",
                                   "policy",     "loader",      "loop",     "length",  "accelerate"};

struct Conflict {
  Trainer trainer;
  bool (*holds)(const TrainingConfiguration&);
  const char* why;
};

bool is_mixed(const TrainingConfiguration& c) {
  return c.settings.precision == TrainingPrecision::kBf16Mixed || c.settings.precision == TrainingPrecision::kFp16Mixed;
}

constexpr const char* kCopiesOutputs =
    "Accelerate, which the trainer runs on, copies what a model returns under autocast to float32: not modelled";

constexpr Conflict kConflicts[] = {
    {kHf, is_mixed, kCopiesOutputs},
    {kAcc, is_mixed, kCopiesOutputs},
    {kFsdp, [](const TrainingConfiguration& c) { return c.settings.precision == TrainingPrecision::kFp16Mixed; },
     "a loop with a GradScaler is not among the plan's words"},
};

bool is_plain(const Knob& knob, const Words& words) {
  if (words.value == nullptr) return false;
  return std::string_view(words.value) == (knob.values.empty() ? "none" : knob.values.front().name);
}

/// In a cell of Markdown.
std::string in_code(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  if (line.size() < text.size()) line += " …";
  return fmt::format("`{}`", line);
}

std::string cell_of(const Knob& knob, Trainer trainer) {
  std::string cell;
  for (const Words& words : kWords) {
    if (words.trainer != trainer || std::string_view(words.knob) != knob.name) continue;
    if (*words.text == 0 || is_plain(knob, words) || words.place == Place::kImport || words.place == Place::kTrainer)
      continue;
    const std::string text = in_code(words.text);
    if (cell.find(text) == std::string::npos) cell += (cell.empty() ? "" : "; ") + text;
  }
  return cell.empty() ? "no" : cell;
}

}  // namespace

const char* place_name(Place place) { return kPlaceNames[static_cast<int>(place)]; }

std::vector<const Words*> words_for(Trainer trainer, const char* knob, const std::string& value) {
  std::vector<const Words*> found;
  for (const Words& words : kWords) {
    if (words.trainer != trainer || std::string_view(words.knob) != knob) continue;
    if (words.value == nullptr || value == words.value) found.push_back(&words);
  }
  return found;
}

bool can_take(Trainer trainer, const Knob& knob, const std::string& value) {
  return !words_for(trainer, knob.name, value).empty();
}

bool can_turn(Trainer trainer, const Knob& knob) {
  return std::any_of(std::begin(kWords), std::end(kWords), [&](const Words& words) {
    return words.trainer == trainer && std::string_view(words.knob) == knob.name && !is_plain(knob, words);
  });
}

bool is_searched(Trainer trainer) {
  return trainer != kOwn && std::any_of(std::begin(kWords), std::end(kWords),
                                        [&](const Words& words) { return words.trainer == trainer; });
}

const char* conflict(Trainer trainer, const TrainingConfiguration& configuration) {
  for (const Conflict& each : kConflicts)
    if (each.trainer == trainer && each.holds(configuration)) return each.why;
  return nullptr;
}

std::string knob_table() {
  constexpr Trainer kShown[] = {kOwn, kHf, kAcc, kFsdp};
  std::string table = "| knob | changes | mathematics | freed by |";
  for (const Trainer trainer : kShown) table += fmt::format(" `{}` |", trainer_name(trainer));
  table += "\n|---|---|---|---|---|---|---|---|\n";
  for (const Knob& knob : training_knobs()) {
    table += fmt::format("| {} | {} | {} | {} |", knob.name, knob.changes, mathematics_text(knob.mathematics),
                         knob.allow == nullptr ? "" : fmt::format("`--allow {}`", knob.allow));
    for (const Trainer trainer : kShown) table += fmt::format(" {} |", cell_of(knob, trainer));
    table += "\n";
  }
  return table;
}

}  // namespace vramwise
