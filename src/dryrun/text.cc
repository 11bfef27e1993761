// One block a card, then what the answer rests on, and the verdict last, where the eye ends up.
#include "dryrun/text.h"

#include <fmt/format.h>

#include "base/units.h"

namespace vramwise {
namespace {

std::string peak_line(const char* what, const DryRunPeak& peak) {
  return fmt::format("  {:<10} {:>10}   in step {}\n", what, format_size(peak.bytes), peak.step + 1);
}

std::string gpu_block(const DryRunGpu& gpu) {
  std::string text = fmt::format("GPU {}  {}  {}\n", gpu.index, gpu.name, format_size(gpu.total));
  if (gpu.allocated) text += peak_line("allocated", *gpu.allocated);
  if (gpu.reserved) text += peak_line("reserved", *gpu.reserved);
  text += fmt::format("  {:<10} {:>10}   with {} of CUDA context\n", "device", format_size(gpu.device_peak),
                      format_size(gpu.context));
  text += fmt::format("  {:<10} {:>10}\n", "left", format_size(gpu.left()));
  return text;
}

std::string counted(std::int64_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

std::string verdict_line(const DryRun& run) {
  switch (run.verdict) {
    case DryRunVerdict::kFits: {
      if (run.out_of_memory_errors() == 0) return "It fits.\n";
      return fmt::format("The program ran to its end; it recovered from {}.\n",
                         counted(run.out_of_memory_errors(), "out-of-memory error"));
    }
    case DryRunVerdict::kFitsWithRetries:
      return fmt::format("It fits, but PyTorch had to empty its cache {} to go on: slower.\n",
                         counted(run.retries(), "time"));
    case DryRunVerdict::kDoesNotFit:
      return fmt::format("It does not fit: the program ended with out-of-memory (exit code {}).\n", run.script_exit);
    case DryRunVerdict::kIncomplete:
      return "There is no answer: the program called what is not modelled (see below).\n";
    case DryRunVerdict::kNoCuda:
      return "No process used CUDA, so there is nothing to report.\n";
    case DryRunVerdict::kScriptFailed:
      return fmt::format("The program failed for reasons of its own (exit code {}).\n", run.script_exit);
  }
  return {};
}

std::string list(const char* heading, const std::map<std::string, std::int64_t>& counts) {
  if (counts.empty()) return {};
  std::string text = fmt::format("{}\n", heading);
  for (const auto& [name, count] : counts) text += fmt::format("  {} ({})\n", name, counted(count, "time"));
  return text;
}

}  // namespace

std::string describe(const DryRun& run) {
  std::string text;
  if (run.rank && run.rank->world_size > 1) {
    text += fmt::format("Rank {} of {}, alone: the others are taken to hold the same data.\n", run.rank->rank,
                        run.rank->world_size);
  }
  for (const DryRunGpu& gpu : run.gpus) text += gpu_block(gpu);
  if (run.pinned_host_peak > Bytes(0))
    text += fmt::format("Pinned host memory: {}\n", format_size(run.pinned_host_peak));
  if (!run.torch.empty()) {
    text += fmt::format("PyTorch {}, {}", run.torch, counted(run.steps, "optimizer step"));
    if (run.loaders_ended > 0) text += fmt::format(", {} ended early", counted(run.loaders_ended, "data loader"));
    text += "\n";
  }
  text += list("Not modelled:", run.unmodelled);
  text += list("Assumed:", run.assumed);
  return text + verdict_line(run);
}

}  // namespace vramwise
