// Sizes first, then what goes together: what is refused here has been compared with nothing.

#include "estimate/training_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace vramwise {
namespace {

Status check_sizes(const TrainingSettings& settings) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const std::pair<const char*, std::int64_t> positive[] = {
      {"the micro-batch", settings.micro_batch},    {"the sequence length", settings.seq_len},
      {"the target's length", settings.target_len}, {"gradient accumulation", settings.gradient_accumulation_steps},
      {"the number of steps", settings.steps},
  };
  for (const auto& [name, value] : positive)
    if (value < 1 || value > kMost)
      return usage_error(fmt::format("{} is {}; it must be from 1 to {}", name, value, kMost));
  constexpr std::int64_t kMostTokens = std::int64_t{1} << 28;
  if (settings.lora.rank < 0 || settings.lora.rank > kMost || settings.lora.dropout < 0 || settings.lora.dropout >= 1)
    return usage_error("the rank of LoRA must be from 1 on, its dropout from 0 to below 1");
  constexpr std::int64_t kMostPixels = 1 << 14;
  if (settings.image_size < 0 || settings.image_size > kMostPixels)
    return usage_error(
        fmt::format("the image size is {}; it must be up to {} pixels", settings.image_size, kMostPixels));
  if (settings.micro_batch * std::max(settings.seq_len, settings.target_len) > kMostTokens)
    return usage_error(
        fmt::format("{} x {} tokens are more than an estimate takes at once", settings.micro_batch, settings.seq_len));
  return Done{};
}

Error not_modelled(std::string what) { return incomplete(std::move(what), "`vramwise dryrun` measures it"); }

Status check_lora(const ModelConfig& model, const TrainingSettings& settings) {
  const LoraOptions& lora = settings.lora;
  if (lora.is_on() && !model.architecture.takes_lora)
    return not_modelled(fmt::format("LoRA on the layers of {} is not modelled", model.model_type));
  if (!lora.is_on() && (lora.uses_dora || !lora.modules_to_save.empty()))
    return usage_error("DoRA and modules that are trained whole belong to LoRA", "give its rank");
  if (settings.quantization == Quantization::kNone) return Done{};
  if (!lora.is_on()) return usage_error("4-bit weights are frozen: they are trained with LoRA only", "give its rank");
  if (!model.architecture.takes_4bit)
    return not_modelled(fmt::format("4-bit weights of {} are not modelled", model.model_type));
  if (lora.uses_dora) return not_modelled("DoRA over 4-bit weights is not modelled");
  return Done{};
}

Status check_flash2(const ModelConfig& model, const TrainingSettings& settings) {
  if (settings.attention != Attention::kFlash2) return Done{};
  if (!model.architecture.has_flash2)
    return not_modelled(fmt::format("flash-attention 2 of {} is not modelled", model.model_type));
  if (settings.precision == TrainingPrecision::kFp32)
    return usage_error("flash-attention 2 computes in 16 bits only", "--precision bf16, fp16 or one of the mixed ones");
  return Done{};
}

bool is_of_torch(TrainingOptimizer optimizer) { return optimizer <= TrainingOptimizer::kSgdMomentum; }

Status check_tensor_parallel(const ModelConfig& model, const TrainingSettings& settings) {
  const TensorPlan& plan = model.architecture.tensor_plan;
  const int ranks = settings.parallel.ranks;
  if (!plan.is_known()) return not_modelled(fmt::format("tensor parallelism of {} is not modelled", model.model_type));
  if (plan.heads % ranks != 0)
    return usage_error(fmt::format("{} heads of keys and values can't be shared out over {} cards", plan.heads, ranks),
                       "their number must be a multiple of that of the cards");
  if (settings.lora.is_on()) return not_modelled("LoRA with tensor parallelism is not modelled");
  if (!is_of_torch(settings.optimizer))
    return not_modelled("tensor parallelism is modelled with AdamW and SGD of PyTorch only");
  if (settings.precision == TrainingPrecision::kFp16Mixed)
    return not_modelled("tensor parallelism with a GradScaler is not modelled");
  if (settings.checkpointing.is_selective)
    return not_modelled("selective checkpointing with tensor parallelism is not modelled");
  if (settings.loss != LossKind::kWhole)
    return not_modelled("a loss without whole logits is not modelled with tensor parallelism");
  return Done{};
}

Status check_deepspeed(const ModelConfig& model, const TrainingSettings& settings) {
  const int stage = settings.parallel.deepspeed.stage;
  if (stage < 1 || stage > 3) return usage_error(fmt::format("ZeRO has no stage {}", stage), "stages 1 to 3");
  if (settings.precision == TrainingPrecision::kBf16Mixed || settings.precision == TrainingPrecision::kFp16Mixed)
    return incomplete("torch.autocast under DeepSpeed is not modelled",
                      "its own bf16 and fp16 keep a float32 copy of the weights: --precision bf16 or fp16");
  if (model.architecture.takes.image_size > 0) return not_modelled("DeepSpeed with models of images is not modelled");
  if (!is_of_torch(settings.optimizer)) return not_modelled("DeepSpeed is modelled with AdamW and SGD of PyTorch only");
  if (settings.lora.is_on()) return not_modelled("LoRA under DeepSpeed is not modelled");
  if (settings.loss != LossKind::kWhole)
    return not_modelled("a loss without whole logits is not modelled under DeepSpeed");
  if (stage < 3) return Done{};
  if (settings.parallel.ranks < 2)
    return not_modelled("DeepSpeed's ZeRO-3 on one card, which gathers nothing, is not modelled");
  if (!model.architecture.tells_modules)
    return not_modelled(
        fmt::format("DeepSpeed's ZeRO-3 is modelled for GPT-2, Llama, Mistral, Qwen2 and 3 and SmolLM3, with rotary "
                    "positions of rope_type default, linear or llama3; {} is not",
                    model.model_type));
  if (settings.checkpointing.is_selective)
    return not_modelled(
        "selective checkpointing under ZeRO-3, which gathers parameters inside of a block, is not modelled");
  return Done{};
}

Status check_parallel(const ModelConfig& model, const TrainingSettings& settings) {
  const ParallelOptions& parallel = settings.parallel;
  constexpr int kMostRanks = 1 << 14;
  if (parallel.kind == Parallel::kNone) return Done{};
  const int least = parallel.kind == Parallel::kDeepSpeed ? 1 : 2;
  if (parallel.ranks < least || parallel.ranks > kMostRanks)
    return usage_error(fmt::format("{} cards are no group; it must be {} to {}", parallel.ranks, least, kMostRanks));
  if (settings.quantization != Quantization::kNone)
    return not_modelled("4-bit weights on several cards are not modelled");
  if (parallel.shares_states && settings.optimizer == TrainingOptimizer::kMuon)
    return not_modelled("ZeroRedundancyOptimizer with Muon, which takes AdamW for other parameters, is not modelled");
  if (parallel.shares_states && settings.lora.is_on())
    return not_modelled("ZeroRedundancyOptimizer with LoRA is not modelled");
  if (parallel.kind == Parallel::kDataParallel) return Done{};
  if (parallel.kind == Parallel::kTensor) return check_tensor_parallel(model, settings);
  if (parallel.kind == Parallel::kDeepSpeed) return check_deepspeed(model, settings);
  if (!is_of_torch(settings.optimizer))
    return not_modelled(
        "fully_shard is modelled with AdamW and SGD of PyTorch; Adafactor and bitsandbytes stop at sharded parameters");
  if (parallel.offloads && settings.precision == TrainingPrecision::kFp16Mixed)
    return not_modelled("a GradScaler over parameters on the host is not modelled");
  if (!model.architecture.takes_sharding)
    return not_modelled(fmt::format("fully_shard of {} is not modelled", model.model_type));
  if (settings.precision == TrainingPrecision::kFp16Mixed && !model.architecture.takes_fp16_weights)
    return not_modelled(fmt::format("{} that computes in float16 is not modelled", model.model_type));
  return Done{};
}

Status check_chunked_loss(const ModelConfig& model, const TrainingSettings& settings) {
  if (!model.architecture.takes_chunked_loss)
    return not_modelled(fmt::format("TRL's loss in chunks of {} is not modelled", model.model_type));
  if (!settings.lora.modules_to_save.empty() || settings.quantization != Quantization::kNone)
    return not_modelled("TRL's loss in chunks with modules that are trained whole or 4-bit weights is not modelled");
  if (settings.seq_len < 2) return usage_error("a text of one token has no loss", "--seq_len 2 or more");
  return Done{};
}

Status check_fused_loss(const ModelConfig& model, const TrainingSettings& settings) {
  if (settings.loss == LossKind::kChunked) return check_chunked_loss(model, settings);
  if (settings.loss != LossKind::kLiger) return Done{};
  const bool is_mixed =
      settings.precision == TrainingPrecision::kBf16Mixed || settings.precision == TrainingPrecision::kFp16Mixed;
  if (!model.architecture.takes_fused_loss)
    return not_modelled(fmt::format("Liger-Kernel's loss of {} is not modelled", model.model_type));
  if (is_mixed && settings.parallel.kind != Parallel::kFullyShard)
    return not_modelled("Liger-Kernel's loss under autocast is not modelled");
  if (settings.lora.is_on()) return not_modelled("Liger-Kernel's loss with LoRA is not modelled");
  return Done{};
}

}  // namespace

Status check_length(const ModelConfig& model, std::int64_t tokens) {
  const std::int64_t positions = model.architecture.max_positions;
  if (!model.architecture.has_learned_positions || positions <= 0 || tokens <= positions) return Done{};
  return usage_error(fmt::format("{} has positions for {} tokens: it would stop at a sequence of {}", model.model_type,
                                 positions, tokens),
                     fmt::format("--seq_len {} or less, or a model that was made for longer texts", positions));
}

Status check_training(const ModelConfig& model, const TrainingSettings& settings) {
  VRAMWISE_RETURN_IF_ERROR(check_sizes(settings));
  if (model.architecture.takes.texts) VRAMWISE_RETURN_IF_ERROR(check_length(model, settings.seq_len));
  VRAMWISE_RETURN_IF_ERROR(check_lora(model, settings));
  VRAMWISE_RETURN_IF_ERROR(check_flash2(model, settings));
  if (settings.attention == Attention::kEager && !model.architecture.has_eager)
    return not_modelled(fmt::format("eager attention of {} is not modelled", model.model_type));
  const Checkpointing& checkpointing = settings.checkpointing;
  const bool is_whole = checkpointing.layers == kAllLayers && checkpointing.every == 1 && !checkpointing.is_selective;
  if (checkpointing.is_on() && !is_whole && !model.architecture.takes_layers_to_checkpoint)
    return not_modelled(
        fmt::format("checkpointing of {} other than that of every layer is not modelled", model.model_type));
  if (checkpointing.is_selective && settings.quantization != Quantization::kNone)
    return not_modelled("selective checkpointing over 4-bit weights is not modelled");
  if (settings.precision == TrainingPrecision::kFp16 && !model.architecture.takes_fp16_weights)
    return incomplete(fmt::format("{} with float16 weights is not modelled", model.model_type),
                      "bf16 and fp16-mixed are; `vramwise dryrun` measures it");
  VRAMWISE_RETURN_IF_ERROR(check_parallel(model, settings));
  VRAMWISE_RETURN_IF_ERROR(check_fused_loss(model, settings));
  if (settings.optimizer == TrainingOptimizer::kMuon && settings.precision == TrainingPrecision::kFp16Mixed)
    return not_modelled("Muon with a GradScaler is not modelled");
  return Done{};
}

Status check_card(const ModelConfig& model, const TrainingSettings& settings, const tape::Hardware& card) {
  const bool is_bf16 =
      settings.precision == TrainingPrecision::kBf16 || settings.precision == TrainingPrecision::kBf16Mixed;
  if (is_bf16 && card.capability < 80 && model.architecture.takes.image_size > 0)
    return incomplete("convolutions in bfloat16 on a card of compute capability below 8.0 are not modelled",
                      "cuDNN has none; --precision fp16-mixed is modelled, `vramwise dryrun` measures");
  if (is_bf16 && card.capability < 80 && settings.loss == LossKind::kChunked)
    return usage_error("PyTorch multiplies bfloat16 into float32, as TRL's loss does, from compute capability 8.0 on",
                       "--precision fp16-mixed, or --loss whole");
  if (settings.attention == Attention::kFlash2 && card.capability < 80)
    return usage_error("flash-attention 2 needs a card of compute capability 8.0 or more", "--attention sdpa");
  return Done{};
}

}  // namespace vramwise
