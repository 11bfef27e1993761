// Flags are kept as text where CLI11's own conversion would give a message without a remedy, and are parsed here.
#include "cli/plan_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/units.h"
#include "cli/plan_file.h"
#include "cost/calibration.h"
#include "plan/training/knobs.h"

namespace vramwise::cli {
namespace {

Status require_at_least_one(const char* flag, const std::optional<std::int64_t>& value) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (!value || (*value >= 1 && *value <= kMost)) return Done{};
  return usage_error(fmt::format("{} {} is out of range", flag, *value), "It must be between 1 and 2147483648.");
}

Result<std::optional<std::int64_t>> parse_blocks(const std::string& text, std::int64_t n_layers) {
  if (text.empty()) return std::optional<std::int64_t>();
  if (text == "none") return std::optional<std::int64_t>(0);
  if (text == "all") return std::optional<std::int64_t>(n_layers);
  if (text == "selective" || text.starts_with("every-"))
    return usage_error(fmt::format("--gradient_checkpointing {}: vramwise train recomputes whole blocks", text),
                       "Give none, all, or how many blocks from the first on; --for transformers, accelerate and fsdp2 "
                       "know selective and every-N.");
  const std::optional<std::int64_t> blocks = parse_integer(text);
  if (!blocks || *blocks < 0 || *blocks > n_layers) {
    return usage_error(fmt::format("--gradient_checkpointing \"{}\" is not possible", text),
                       fmt::format("Give none, all, or how many blocks from the first on (0 to {}).", n_layers));
  }
  return blocks;
}

Result<std::optional<bool>> parse_switch(const char* flag, const std::string& text) {
  if (text.empty()) return std::optional<bool>();
  if (text == "on" || text == "true") return std::optional<bool>(true);
  if (text == "off" || text == "false") return std::optional<bool>(false);
  return usage_error(fmt::format("{} \"{}\" is neither on nor off", flag, text));
}

}  // namespace

void PlanOptions::add_to(CLI::App& command) {
  constexpr const char* kMemory = "Memory";
  command
      .add_option("--vram", vram,
                  "GB to plan for, over all cards (24, 20.5), or a preset (8gb 12gb 16gb 24gb 32gb 48gb)")
      ->group(kMemory);
  command.add_flag("--vram_auto", vram_auto, "Plan for the memory that the cards have free (the default)")
      ->group(kMemory);
  command.add_option("--vram_safety_margin", safety_margin, "MB kept free on each card")
      ->capture_default_str()
      ->group(kMemory);
  command
      .add_option("--gpu", gpu,
                  "Cards of the catalogue (`vramwise gpus` lists it): rtx-4090, rtx-3090,rtx-3080, 2xa100-80gb, 24gb, "
                  "rtx-2060:8gb")
      ->check([](const std::string& text) { return text.empty() ? std::string("no card is named") : std::string(); })
      ->group(kMemory);

  constexpr const char* kFixed = "Configuration (what is given stays; the rest is chosen)";
  command.add_option("--batch_size,--micro_batch", batch_size, "Sequences a forward pass on the fastest card")
      ->group(kFixed);
  command.add_option("--seq_len,--max_seq_len", seq_len, "Tokens a sequence")->group(kFixed);
  command.add_option("--gradient_accumulation_steps", gradient_accumulation_steps, "Micro-batches an optimizer step")
      ->group(kFixed);
  command
      .add_option("--effective_batch", effective_batch,
                  "Sequences an optimizer step, over all cards (default: the table's row)")
      ->group(kFixed);
  command.add_option("--precision", precision, "fp32, bf16 or fp16")->group(kFixed);
  command
      .add_option("--gradient_checkpointing", gradient_checkpointing,
                  "none, all, or how many blocks from the first on; with --for also selective and every-N")
      ->group(kFixed);
  command.add_option("--cpu_offload", cpu_offload, "on: optimizer states leave the device; off: they don't")
      ->group(kFixed);
  command.add_option("--loss_chunk_tokens", loss_chunk_tokens, "Tokens whose logits exist at a time")->group(kFixed);

  constexpr const char* kSearch = "Search";
  command
      .add_option("--strategy", strategy,
                  "guide: the table's row, shrunk until it fits (the default); fastest: the most tokens/s that fit; "
                  "safest: the most memory left at 90 % of that")
      ->group(kSearch);
  command
      .add_option("--allow", allow, "What a search may change too: seq_len, precision; with --for also 8bit_adam, lora")
      ->delimiter(',')
      ->group(kSearch);
  command.add_option("--calibration", calibration, "JSON of rates measured on your cards (docs/formats.md)")
      ->group(kSearch);
}

Status PlanOptions::apply_search(PlanRequest& request) const {
  if (!strategy.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(request.strategy, parse_strategy(strategy));
  }
  const bool searches = request.strategy != Strategy::kGuide;
  if (!allow.empty() && !searches) {
    return usage_error("--allow says what a search may change, and the guide strategy does not search",
                       "Add --strategy fastest or --strategy safest.");
  }
  const std::vector<std::string> known = allow_names(Trainer::kOwn);
  for (const std::string& what : allow) {
    if (std::find(known.begin(), known.end(), what) == known.end())
      return usage_error(fmt::format("--allow {}: vramwise train has no such knob", what),
                         fmt::format("Known: {}.", fmt::join(known, ", ")));
    request.allowed.seq_len = request.allowed.seq_len || what == "seq_len";
    request.allowed.precision = request.allowed.precision || what == "precision";
  }
  if (calibration.empty()) return Done{};
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_json_file(calibration));
  for (Card& card : request.cards) {
    VRAMWISE_ASSIGN_OR_RETURN(card.rates, calibrated(card.rates, json));
  }
  return Done{};
}

Result<VramTarget> PlanOptions::target() const {
  if (vram_auto && vram) {
    return usage_error("--vram and --vram_auto contradict each other",
                       "Give --vram with an amount, or --vram_auto to detect it.");
  }
  if (!vram) return VramTarget{};
  return parse_vram(*vram);
}

Result<Bytes> PlanOptions::margin() const { return parse_safety_margin(safety_margin); }

Result<Overrides> PlanOptions::overrides(std::int64_t n_layers) const {
  VRAMWISE_RETURN_IF_ERROR(require_at_least_one("--batch_size", batch_size));
  VRAMWISE_RETURN_IF_ERROR(require_at_least_one("--seq_len", seq_len));
  VRAMWISE_RETURN_IF_ERROR(require_at_least_one("--gradient_accumulation_steps", gradient_accumulation_steps));
  VRAMWISE_RETURN_IF_ERROR(require_at_least_one("--loss_chunk_tokens", loss_chunk_tokens));
  VRAMWISE_RETURN_IF_ERROR(require_at_least_one("--effective_batch", effective_batch));
  if (effective_batch && batch_size && gradient_accumulation_steps) {
    return usage_error("--effective_batch beside --batch_size and --gradient_accumulation_steps",
                       "Two of them say the third.");
  }
  Overrides fixed{
      .micro_batch = batch_size, .seq_len = seq_len, .gradient_accumulation_steps = gradient_accumulation_steps};
  fixed.loss_chunk_tokens = loss_chunk_tokens;
  fixed.effective_batch = effective_batch;
  if (!precision.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(fixed.precision, parse_precision(precision));
  }
  VRAMWISE_ASSIGN_OR_RETURN(fixed.checkpointed_blocks, parse_blocks(gradient_checkpointing, n_layers));
  VRAMWISE_ASSIGN_OR_RETURN(fixed.offload_optimizer, parse_switch("--cpu_offload", cpu_offload));
  return fixed;
}

}  // namespace vramwise::cli
