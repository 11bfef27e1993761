// Names of arguments are those of transformers 5.24, accelerate 1.15, PyTorch 2.14, DeepSpeed 0.19, torchtune 0.6,
// Liger-Kernel 0.8, bitsandbytes 0.50.
#include "plan/training/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace vramwise {
namespace {

constexpr Trainers kOwn = only(Trainer::kOwn), kHf = only(Trainer::kTransformers), kAcc = only(Trainer::kAccelerate),
                   kFsdp = only(Trainer::kFsdp2), kDs = only(Trainer::kDeepSpeed), kTune = only(Trainer::kTorchtune);
constexpr Trainers kLoops = kAcc | kFsdp;          // of one's own
constexpr Trainers kTrainerClass = kHf | kDs;      // that of transformers
constexpr Trainers kWrapped = kHf | kAcc | kDs;    // by Accelerate
constexpr Trainers kOfTorch = kHf | kAcc | kFsdp;  // whose engine is PyTorch
constexpr Trainers kScripts = kOfTorch | kDs;      // programs of one's own

// transformers 5.24 warns at the older name; those before it have that one alone.
constexpr const char* kFindEnable =
    "enable = getattr(model, \"activation_checkpointing_enable\", None) or model.gradient_checkpointing_enable";
constexpr const char* kEnable = "enable()";
constexpr const char* kEnableSelective = "enable({\"use_reentrant\": False, \"context_fn\": selective})";
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
constexpr const char* kFirst =
    "for layer in [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)][{}:]:\n"
    "    layer.gradient_checkpointing = False";
constexpr const char* kEach =
    "layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]\n"
    "for number, layer in enumerate(layers, start=1):\n"
    "    layer.gradient_checkpointing = number % {} == 0";
constexpr const char* kImportLayer = "from transformers.modeling_layers import GradientCheckpointingLayer";
constexpr const char* kLiger =
    "_apply_liger_kernel_to_instance(model=model, rope=False, rms_norm=False, swiglu=False, cross_entropy=False,\n"
    "                                fused_linear_cross_entropy=True)";
constexpr const char* kImportLiger = "from liger_kernel.transformers import _apply_liger_kernel_to_instance";
constexpr const char* kLora =
    "model = get_peft_model(model, LoraConfig(r={}, target_modules=\"all-linear\", task_type=\"CAUSAL_LM\"))";
constexpr const char* kImportLora = "from peft import LoraConfig, get_peft_model";
constexpr const char* kImportBnb = "import bitsandbytes as bnb";
// An optimizer of one's own takes the rate and the decay that TrainingArguments has by default.
constexpr const char* kHfForeach =
    "optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, foreach=True)";
constexpr const char* kHfForLoop =
    "optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, foreach=False)";
constexpr const char* kHf8bit = "optimizer = bnb.optim.AdamW8bit(model.parameters(), lr=5e-5, weight_decay=0.0)";
constexpr const char* kHfPaged8bit =
    "optimizer = bnb.optim.PagedAdamW8bit(model.parameters(), lr=5e-5, weight_decay=0.0)";
// Accelerator would ask the optimizer for all states, of which a rank has its own only: it is made behind prepare().
constexpr const char* kPrepareShared = "model, loader = accelerator.prepare(model, loader)";
constexpr const char* kShareFused =
    "optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, fused=True)";
constexpr const char* kShareForeach =
    "optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, foreach=True)";
constexpr const char* kShareForLoop =
    "optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, foreach=False)";
constexpr const char* kShare8bit = "optimizer = ZeroRedundancyOptimizer(model.parameters(), bnb.optim.AdamW8bit)";
constexpr const char* kSharePaged8bit =
    "optimizer = ZeroRedundancyOptimizer(model.parameters(), bnb.optim.PagedAdamW8bit)";
constexpr const char* kImportZero = "from torch.distributed.optim import ZeroRedundancyOptimizer";
constexpr const char* kOwnOptimizer = "optimizers=(optimizer, None),";
constexpr const char* kLaunchEngine = "deepspeed --num_gpus {} train.py";
// DeepSpeed's own sizes (Zero3Options), and what lets the Trainer save whole weights.
constexpr const char* kStage3 =
    "\"stage3_prefetch_bucket_size\": 50000000,\n"
    "\"stage3_param_persistence_threshold\": 100000,\n"
    "\"stage3_max_live_parameters\": 1000000000,\n"
    "\"stage3_max_reuse_distance\": 1000000000,\n"
    "\"stage3_gather_16bit_weights_on_model_save\": true,";
constexpr const char* kFp32 = "dtype=torch.float32,";
constexpr const char* kImportMixed = "from torch.distributed.fsdp import MixedPrecisionPolicy";
constexpr const char* kViews = "kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],";
constexpr const char* kImportViews = "from accelerate.utils import DistributedDataParallelKwargs";
// clang-format off: a row a line
constexpr Words kWords[] = {
    {"micro_batch", nullptr, kOwn, Place::kFlag, "--batch_size {}"},
    {"micro_batch", nullptr, kTrainerClass, Place::kArgument, "per_device_train_batch_size={},"},
    {"micro_batch", nullptr, kLoops, Place::kLoader, "batch_size={}"},
    {"micro_batch", nullptr, kDs, Place::kEngine, "\"train_micro_batch_size_per_gpu\": {},"},
    {"micro_batch", nullptr, kTune, Place::kRecipe, "batch_size: {}"},

    {"accumulation", nullptr, kOwn, Place::kFlag, "--gradient_accumulation_steps {}"},
    {"accumulation", nullptr, kWrapped, Place::kArgument, "gradient_accumulation_steps={},"},
    {"accumulation", nullptr, kFsdp, Place::kLoop, "{}"},
    {"accumulation", nullptr, kDs, Place::kEngine, "\"gradient_accumulation_steps\": {},"},
    {"accumulation", nullptr, kTune, Place::kRecipe, "gradient_accumulation_steps: {}"},

    {"checkpointing", "none", kOwn, Place::kFlag, "--gradient_checkpointing none"},
    {"checkpointing", "first", kOwn, Place::kFlag, "--gradient_checkpointing {}"},
    {"checkpointing", "every", kOwn, Place::kFlag, "--gradient_checkpointing all"},
    {"checkpointing", "none", kScripts, Place::kModelCode, ""},
    {"checkpointing", "every", kScripts, Place::kModelCode, kFindEnable},
    {"checkpointing", "every", kScripts, Place::kModelCode, kEnable},
    {"checkpointing", "first", kScripts, Place::kModelCode, kFindEnable},
    {"checkpointing", "first", kScripts, Place::kModelCode, kEnable},
    {"checkpointing", "first", kScripts, Place::kLayers, kFirst},
    {"checkpointing", "first", kWrapped, Place::kImport, kImportLayer},
    {"checkpointing", "each", kScripts, Place::kModelCode, kFindEnable},
    {"checkpointing", "each", kScripts, Place::kModelCode, kEnable},
    {"checkpointing", "each", kScripts, Place::kLayers, kEach},
    {"checkpointing", "each", kWrapped, Place::kImport, kImportLayer},
    {"checkpointing", "none", kTune, Place::kRecipe, "enable_activation_checkpointing: False"},
    {"checkpointing", "every", kTune, Place::kRecipe, "enable_activation_checkpointing: True"},
    {"checkpointing", "every, selective", kScripts, Place::kModelCode, ""},
    {"checkpointing", "first, selective", kScripts, Place::kLayers, kFirst},
    {"checkpointing", "first, selective", kWrapped, Place::kImport, kImportLayer},

    {"recomputed", "whole layers", kScripts | kTune, Place::kModelCode, ""},
    {"recomputed", "selective", kScripts, Place::kModelCode, kSelective},
    {"recomputed", "selective", kScripts, Place::kModelCode, kFindEnable},
    {"recomputed", "selective", kScripts, Place::kModelCode, kEnableSelective},
    {"recomputed", "selective", kScripts, Place::kImport, kImportSelective},

    {"optimizer", "fused", kHf, Place::kArgument, "optim=\"adamw_torch_fused\","},
    {"optimizer", "foreach", kHf, Place::kOptimizer, kHfForeach},
    {"optimizer", "foreach", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "for-loop", kHf, Place::kOptimizer, kHfForLoop},
    {"optimizer", "for-loop", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "8-bit", kHf, Place::kOptimizer, kHf8bit},
    {"optimizer", "8-bit", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "8-bit, paged", kHf, Place::kOptimizer, kHfPaged8bit},
    {"optimizer", "8-bit, paged", kHf, Place::kTrainer, kOwnOptimizer},
    {"optimizer", "fused", kLoops, Place::kOptimizer, "optimizer = torch.optim.AdamW(model.parameters(), fused=True)"},
    {"optimizer", "foreach", kLoops, Place::kOptimizer, "optimizer = torch.optim.AdamW(model.parameters(), foreach=True)"},
    {"optimizer", "for-loop", kLoops, Place::kOptimizer, "optimizer = torch.optim.AdamW(model.parameters(), foreach=False)"},
    {"optimizer", "8-bit", kAcc, Place::kOptimizer, "optimizer = bnb.optim.AdamW8bit(model.parameters())"},
    {"optimizer", "8-bit", kHf | kAcc, Place::kImport, kImportBnb},
    {"optimizer", "8-bit, paged", kAcc, Place::kOptimizer, "optimizer = bnb.optim.PagedAdamW8bit(model.parameters())"},
    {"optimizer", "8-bit, paged", kHf | kAcc, Place::kImport, kImportBnb},

    {"optimizer", "fused, shared", kAcc, Place::kPrepared, kShareFused},
    {"optimizer", "foreach, shared", kAcc, Place::kPrepared, kShareForeach},
    {"optimizer", "for-loop, shared", kAcc, Place::kPrepared, kShareForLoop},
    {"optimizer", "8-bit, shared", kAcc, Place::kPrepared, kShare8bit},
    {"optimizer", "8-bit, shared", kAcc, Place::kImport, kImportBnb},
    {"optimizer", "8-bit, paged, shared", kAcc, Place::kPrepared, kSharePaged8bit},
    {"optimizer", "8-bit, paged, shared", kAcc, Place::kImport, kImportBnb},

    {"optimizer", "fused", kDs, Place::kAdam, "\"fused\": true,"},
    {"optimizer", "foreach", kDs, Place::kAdam, "\"foreach\": true,"},
    {"optimizer", "for-loop", kDs, Place::kAdam, "\"foreach\": false,"},
    {"optimizer", "fused", kTune, Place::kRecipe, "optimizer: {_component_: torch.optim.AdamW, fused: True, lr: 2e-5}"},
    {"optimizer", "foreach", kTune, Place::kRecipe, "optimizer: {_component_: torch.optim.AdamW, foreach: True, lr: 2e-5}"},
    {"optimizer", "for-loop", kTune, Place::kRecipe, "optimizer: {_component_: torch.optim.AdamW, foreach: False, lr: 2e-5}"},
    {"optimizer", "8-bit", kTune, Place::kRecipe, "optimizer: {_component_: bitsandbytes.optim.AdamW8bit, lr: 2e-5}"},
    {"optimizer", "8-bit, paged", kTune, Place::kRecipe, "optimizer: {_component_: bitsandbytes.optim.PagedAdamW8bit, lr: 2e-5}"},

    {"attention", "sdpa", kTune, Place::kRecipe, ""},
    {"attention", nullptr, kScripts, Place::kModelArgument, "attn_implementation=\"{}\","},

    {"loss", "whole", kScripts, Place::kModelCode, ""},
    {"loss", "liger", kOfTorch, Place::kModelCode, kLiger},
    {"loss", "liger", kOfTorch, Place::kImport, kImportLiger},

    {"loss", "chunked", kLoops, Place::kModelCode, "add_fused_lm_head(model)"},
    {"loss", "chunked", kLoops, Place::kImport, "from trl.trainer.utils import add_fused_lm_head"},
    {"loss", "chunked", kLoops, Place::kCall, ", fused_lm_head=True"},

    {"loss", "whole", kTune, Place::kRecipe, "loss: {_component_: torch.nn.CrossEntropyLoss}"},
    {"loss", "chunked", kTune, Place::kRecipe, "loss: {_component_: torchtune.modules.loss.CEWithChunkedOutputLoss}"},

    {"precision", nullptr, kOwn, Place::kFlag, "--precision {}"},
    {"precision", "fp32", kScripts, Place::kModelArgument, kFp32},
    {"precision", "fp32", kAcc, Place::kAccelerate, "mixed_precision: 'no'"},
    {"precision", "bf16", kScripts, Place::kModelArgument, "dtype=torch.bfloat16,"},
    {"precision", "bf16", kAcc, Place::kAccelerate, "mixed_precision: 'no'"},
    {"precision", "bf16", kDs, Place::kArgument, "bf16=True,"},
    {"precision", "bf16", kDs, Place::kEngine, "\"bf16\": {\"enabled\": true},"},
    {"precision", "fp16", kDs, Place::kModelArgument, "dtype=torch.float16,"},
    {"precision", "fp16", kDs, Place::kArgument, "fp16=True,"},
    {"precision", "fp16", kDs, Place::kEngine, "\"fp16\": {\"enabled\": true},"},
    {"precision", "fp32", kTune, Place::kRecipe, "dtype: fp32"},
    {"precision", "bf16", kTune, Place::kRecipe, "dtype: bf16"},
    {"precision", "bf16-mixed", kOfTorch, Place::kModelArgument, kFp32},
    {"precision", "bf16-mixed", kHf, Place::kArgument, "bf16=True,"},
    {"precision", "bf16-mixed", kAcc, Place::kAccelerate, "mixed_precision: bf16"},
    {"precision", "bf16-mixed", kFsdp, Place::kImport, kImportMixed},
    {"precision", "bf16-mixed", kFsdp, Place::kPolicy, "mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),"},
    {"precision", "fp16-mixed", kOfTorch, Place::kModelArgument, kFp32},
    {"precision", "fp16-mixed", kHf, Place::kArgument, "fp16=True,"},
    {"precision", "fp16-mixed", kAcc, Place::kAccelerate, "mixed_precision: fp16"},
    {"precision", "fp16-mixed", kFsdp, Place::kImport, kImportMixed},
    {"precision", "fp16-mixed", kFsdp, Place::kPolicy, "mp_policy=MixedPrecisionPolicy(param_dtype=torch.float16, reduce_dtype=torch.float32),"},
    {"precision", "fp16-mixed", kFsdp, Place::kOptimizer, "scaler = torch.amp.GradScaler(\"cuda\")"},
    {"precision", "fp16-mixed", kFsdp, Place::kBackward, "scaler.scale(loss / accumulation).backward()"},
    {"precision", "fp16-mixed", kFsdp, Place::kUnscale, "scaler.unscale_(optimizer)"},
    {"precision", "fp16-mixed", kFsdp, Place::kStep, "scaler.step(optimizer)\nscaler.update()"},

    {"sharing", "ddp", kHf, Place::kArgument, "ddp_find_unused_parameters=False,"},
    {"sharing", "ddp", kHf, Place::kLaunch, "torchrun --nproc_per_node {} train.py"},
    {"sharing", "ddp", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "ddp, bucket views", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "ddp, bucket views", kAcc, Place::kImport, kImportViews},
    {"sharing", "ddp, bucket views", kAcc, Place::kArgument, kViews},
    {"sharing", "zero1", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "zero1", kAcc, Place::kImport, kImportZero},
    {"sharing", "zero1", kAcc, Place::kPrepare, kPrepareShared},
    {"sharing", "zero1, bucket views", kAcc, Place::kAccelerate, "distributed_type: MULTI_GPU"},
    {"sharing", "zero1, bucket views", kAcc, Place::kImport, kImportViews},
    {"sharing", "zero1, bucket views", kAcc, Place::kImport, kImportZero},
    {"sharing", "zero1, bucket views", kAcc, Place::kPrepare, kPrepareShared},
    {"sharing", "zero1, bucket views", kAcc, Place::kArgument, kViews},
    {"sharing", "fsdp2, on the host", kFsdp, Place::kShard, "reshard_after_forward=True"},
    {"sharing", "fsdp2, on the host", kFsdp, Place::kImport, "from torch.distributed.fsdp import CPUOffloadPolicy"},
    {"sharing", "fsdp2, on the host", kFsdp, Place::kPolicy, "offload_policy=CPUOffloadPolicy(),"},
    {"sharing", "fsdp2, on the host", kFsdp, Place::kBackend, "cpu:gloo,cuda:nccl"},
    {"sharing", "fsdp2, kept after forward", kFsdp, Place::kShard, "reshard_after_forward=False"},
    {"sharing", "fsdp2", kFsdp, Place::kShard, "reshard_after_forward=True"},

    {"sharing", "deepspeed zero1", kDs, Place::kZero, "\"stage\": 1,"},
    {"sharing", "deepspeed zero1", kDs, Place::kLaunch, kLaunchEngine},
    {"sharing", "deepspeed zero2", kDs, Place::kZero, "\"stage\": 2,"},
    {"sharing", "deepspeed zero2", kDs, Place::kLaunch, kLaunchEngine},
    {"sharing", "deepspeed zero3", kDs, Place::kZero, "\"stage\": 3,"},
    {"sharing", "deepspeed zero3", kDs, Place::kZero, kStage3},
    {"sharing", "deepspeed zero3", kDs, Place::kLaunch, kLaunchEngine},

    {"bucket", nullptr, kDs, Place::kZero, "\"reduce_bucket_size\": {},"},
    {"overlap", nullptr, kDs, Place::kZero, "\"overlap_comm\": {}"},

    {"segments", "fixed", kScripts | kTune, Place::kEnvironment, ""},
    {"segments", "expandable", kScripts | kTune, Place::kEnvironment, "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"},

    {"lora", "off", kScripts | kTune, Place::kModelCode, ""},
    {"lora", "on", kOfTorch, Place::kModelCode, kLora},
    {"lora", "on", kOfTorch, Place::kImport, kImportLora},

    {"seq_len", nullptr, kOwn, Place::kFlag, "--seq_len {}"},
    {"seq_len", nullptr, kScripts, Place::kLength, "{}"},
    {"seq_len", nullptr, kTune, Place::kLength, "max_seq_len: {}"},

    {"loss_chunks", nullptr, kOwn, Place::kFlag, "--loss_chunk_tokens {}"},
    {"optimizer_offload", nullptr, kOwn, Place::kFlag, "--cpu_offload on"},
};
// clang-format on

const char* const kPlaceNames[] = {
    "flag",     "environment", "launch",  "import", "model_argument", "model_code", "layers", "optimizer", "prepare",
    "prepared", "argument",    "trainer", "shard",  "policy",         "backend",    "call",   "backward",  "unscale",
    "step",     "loader",      "loop",    "length", "accelerate",     "engine",     "zero",   "adam",      "recipe"};

struct Refusal {
  Trainers trainers;
  const char* knob;
  const char* value;
  ErrorCode code;
  const char* why;
  const char* remedy;
};

constexpr const char* kUnscaled =
    "float16 weights would train without loss scaling, which diverges: torch.amp.GradScaler stops at them "
    "(\"Attempting "
    "to unscale FP16 gradients\")";
constexpr const char* kAutocast = "torch.autocast under DeepSpeed is not modelled";
constexpr const char* kEngineTypes =
    "its own bf16 and fp16 keep a float32 copy of the weights: --precision bf16, fp16 or fp32.";
constexpr Refusal kRefusals[] = {
    {kOfTorch, "precision", "fp16", ErrorCode::kUsage, kUnscaled, "--precision bf16, bf16-mixed, fp16-mixed or fp32."},
    {kDs, "precision", "bf16-mixed", ErrorCode::kIncomplete, kAutocast, kEngineTypes},
    {kDs, "precision", "fp16-mixed", ErrorCode::kIncomplete, kAutocast, kEngineTypes},
};

struct Conflict {
  Trainers trainers;
  bool (*holds)(const TrainingConfiguration&);
  const char* why;
};

constexpr Conflict kConflicts[] = {
    {kFsdp,
     [](const TrainingConfiguration& c) {
       return c.settings.parallel.offloads && c.settings.optimizer != TrainingOptimizer::kAdamWFused;
     },
     "on the host AdamW's kernels are planned fused only"},
};

bool is_plain(const Knob& knob, std::string_view value) {
  return value == (knob.values.empty() ? "none" : knob.values.front().name);
}

}  // namespace

const char* place_name(Place place) { return kPlaceNames[static_cast<int>(place)]; }

std::span<const Words> all_words() { return kWords; }

bool is_for(const Words& words, Trainer trainer, std::string_view knob) {
  return (words.trainers & only(trainer)) != 0 && knob == words.knob;
}

bool is_plain(const Knob& knob, const Words& words) { return words.value != nullptr && is_plain(knob, words.value); }

std::vector<const Words*> words_for(Trainer trainer, const char* knob, const std::string& value) {
  std::vector<const Words*> found;
  for (const Words& words : kWords)
    if (is_for(words, trainer, knob) && (words.value == nullptr || value == words.value)) found.push_back(&words);
  return found;
}

bool can_take(Trainer trainer, const Knob& knob, const std::string& value) {
  return !words_for(trainer, knob.name, value).empty();
}

bool can_turn(Trainer trainer, const Knob& knob) {
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](const Words& words) { return is_for(words, trainer, knob.name) && !is_plain(knob, words); });
}

bool can_free(Trainer trainer, const Knob& knob) {
  if (knob.allow == nullptr) return false;
  if (knob.values.empty()) return can_turn(trainer, knob);
  return std::ranges::any_of(knob.values, [&](const KnobValue& value) {
    return value.allow != nullptr && !is_plain(knob, value.name) && can_take(trainer, knob, value.name);
  });
}

bool concerns(Trainer trainer, const Knob& knob, int cards) {
  return !knob.is_for_several_cards || cards > 1 || trainer == Trainer::kDeepSpeed;
}

bool copies_outputs(Trainer trainer) { return ((kHf | kAcc) & only(trainer)) != 0; }

int communicators(const TrainingSettings& settings, int cards) {
  const ParallelOptions& parallel = settings.parallel;
  if (parallel.kind != Parallel::kDeepSpeed) return cards > 1 ? 1 : 0;
  return parallel.deepspeed.stage < 3 || settings.precision == TrainingPrecision::kFp16 ? 2 : 1;
}

Error no_words(Trainer trainer, const Knob& knob, const std::string& value) {
  for (const Refusal& each : kRefusals)
    if ((each.trainers & only(trainer)) != 0 && std::string_view(knob.name) == each.knob && value == each.value)
      return {each.code, each.why, each.remedy};
  return usage_error(fmt::format("{} has no {} {}", trainer_name(trainer), knob.name, value),
                     "`vramwise plan --knobs` lists what it has.");
}

const char* conflict(Trainer trainer, const TrainingConfiguration& configuration) {
  for (const Conflict& each : kConflicts)
    if ((each.trainers & only(trainer)) != 0 && each.holds(configuration)) return each.why;
  return nullptr;
}

}  // namespace vramwise
