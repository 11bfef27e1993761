// One line a flag; what they mean together is looked at in estimate.cc.
#include "cli/estimate_arguments.h"

namespace vramwise::cli {
namespace {

/// Their events are kept: 100 steps of 405 B parameters are 50 MB.
constexpr int kMostSteps = 100;

}  // namespace

void EstimateArguments::add_to(CLI::App& command) {
  command.add_option("--model", model, "A name (`vramwise models`), a config.json, or its folder")->required();
  command.add_option("--gpu", gpu, "The card: rtx-4090, h100-80gb, 24gb, …; several: 8xh100-80gb")->required();
  command.add_option("--batch_size", settings.micro_batch, "Sequences a forward pass")->capture_default_str();
  command.add_option("--seq_len", settings.seq_len, "Tokens a sequence")->capture_default_str();
  command.add_option("--target_len", settings.target_len, "Tokens that an encoder-decoder is to write")
      ->capture_default_str();
  command.add_option("--image_size", settings.image_size,
                     "Height and width of images, in pixels (default: what the model is made for)");
  command.add_option("--gradient_accumulation_steps", settings.gradient_accumulation_steps)->capture_default_str();
  command.add_option("--steps", settings.steps, "Optimizer steps that are run; the allocator can still grow later")
      ->check(CLI::Range(1, kMostSteps))
      ->capture_default_str();
  command.add_option("--precision", precision,
                     "fp32, bf16, fp16: weights and all; bf16-mixed, fp16-mixed: fp32 weights under autocast "
                     "(default: the checkpoint's dtype)");
  command.add_option("--optimizer", optimizer, training_optimizer_names())->capture_default_str();
  command.add_option("--attention", attention, "What attn_implementation is: sdpa, eager or flash_attention_2")
      ->capture_default_str();
  command
      .add_option(
          "--gradient_checkpointing", gradient_checkpointing,
          "Recompute layers: none, all, the first N (a number), every-N (each N-th), or selective: all but their "
          "matrix products and attention, by torchtitan's policy; all where no value is given, none without the flag")
      ->expected(0, 1)
      ->default_str("all")
      ->option_text("[TEXT]");
  command.add_option("--lora_rank", settings.lora.rank, "Train LoRA factors of this rank only, as PEFT does");
  command.add_option("--lora_dropout", settings.lora.dropout);
  command
      .add_option("--lora_targets", settings.lora.targets,
                  "Layers that get factors: q_proj,v_proj (default: every linear layer but the head)")
      ->delimiter(',');
  command.add_flag("--lora_use_dora", settings.lora.uses_dora, "PEFT's use_dora: DoRA");
  command
      .add_option("--lora_modules_to_save", settings.lora.modules_to_save,
                  "Modules that are trained whole beside the factors: lm_head,embed_tokens")
      ->delimiter(',');
  command
      .add_option("--quantize", quantize,
                  "Frozen weights in 4 bits under LoRA (QLoRA, bitsandbytes): nf4, or nf4-double with quantized scales")
      ->check(CLI::IsMember({"nf4", "nf4-double"}));
  parallel.add_to(command, settings.parallel);
  command
      .add_option("--loss", loss,
                  "whole: of all logits in fp32, as transformers has it; liger: Liger-Kernel's, fused with the head; "
                  "chunked: head and log-probabilities in tiles, as SFTTrainer of TRL")
      ->check(CLI::IsMember({"whole", "liger", "chunked"}))
      ->capture_default_str();
  command.add_flag("--no_clip", no_clip, "Gradients are not clipped");
  command.add_flag("--no_use_cache", no_use_cache,
                   "use_cache=False: the model keeps no keys and values (checkpointing does so by itself)");
  command.add_flag("--expandable_segments", expandable_segments, "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True");
  command.add_flag("--json", as_json, "Print JSON (docs/formats.md)");
  command.add_option("--html", html, "Write a page with the timeline of memory over the run");
}

}  // namespace vramwise::cli
