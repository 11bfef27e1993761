// One block a card, then what the answer rests on, and the verdict last, where the eye ends up.
#include "dryrun/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "base/json.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr int kBarWidth = 40;

std::string size_text(Bytes bytes) { return fmt::format("{:>10}", format_size(bytes)); }

/// In eighths of a character, so that small parts can be seen.
std::string bar(Bytes part, Bytes whole) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (whole <= Bytes(0) || part <= Bytes(0)) return {};
  const auto eighths =
      static_cast<std::int64_t>(static_cast<double>(part.count()) * kBarWidth * 8 / static_cast<double>(whole.count()));
  std::string text;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(eighths / 8, kBarWidth); ++i) text += "█";
  return text + (eighths / 8 < kBarWidth ? kEighths[eighths % 8] : "");
}

std::string coloured(std::string_view text, int colour, TextStyle style) {
  return style.colour ? fmt::format("\x1b[{}m{}\x1b[0m", colour, text) : std::string(text);
}

std::string where(const DryRunPeak& peak) { return "in " + place_text(peak.phase, peak.step); }

std::string peak_line(const char* what, const DryRunPeak& peak) {
  return fmt::format("  {:<10} {}   {}\n", what, size_text(peak.bytes), where(peak));
}

/// No spaces at the ends of lines, where a bar is too short to be seen.
std::string trimmed_lines(const std::string& text) {
  std::string trimmed;
  for (const char c : text) {
    if (c == '\n') trimmed.erase(trimmed.find_last_not_of(' ') + 1);
    trimmed += c;
  }
  return trimmed;
}

std::string phases_table(const DryRunGpu& gpu) {
  if (gpu.phases.empty()) return {};
  std::string text = fmt::format("\n  {:<18}{:>12}{:>12}{:>12}\n", "peak of", "allocated", "reserved", "device");
  for (const DryRunPhase& phase : gpu.phases) {
    text += fmt::format("    {:<16}{:>12}{:>12}{:>12}\n", phase.name, format_size(phase.allocated.bytes),
                        format_size(phase.reserved.bytes), format_size(phase.device.bytes));
  }
  return text;
}

std::string parts_table(const DryRunGpu& gpu, TextStyle style) {
  if (!gpu.way) return {};
  const DevicePeak& peak = gpu.way->peak;
  const DryRunPeak at{.bytes = peak.allocated, .step = peak.step, .phase = peak.phase};
  std::string text = fmt::format(
      "\n  of the peak, {}{}\n", where(at),
      peak.history_is_whole ? "" : " (the memory history was full: older memory is counted as other tensors)");
  int colour = 31;
  for (const auto& [name, bytes] : gpu.parts()) {
    if (bytes <= Bytes(0)) continue;
    text += fmt::format("    {:<18}{} {:>4.0f}%  {}\n", name, size_text(bytes),
                        100.0 * static_cast<double>(bytes.count()) / static_cast<double>(gpu.device_peak.count()),
                        coloured(bar(bytes, gpu.device_peak), colour, style));
    colour = colour == 36 ? 31 : colour + 1;
  }
  return text;
}

std::string largest_table(const DryRunGpu& gpu) {
  if (!gpu.way || gpu.way->peak.largest.empty()) return {};
  std::string text = "\n  largest tensors then\n";
  for (const PeakTensors& tensors : gpu.way->peak.largest) {
    const std::string count = tensors.count == 1 ? "" : fmt::format("{} x", tensors.count);
    std::string origin = tensors.line.empty() ? "autograd" : tensors.line;
    if (!tensors.user_line.empty() && tensors.user_line != tensors.line) origin += ", " + tensors.user_line;
    text += fmt::format("    {:>6} {:<10} {:<17} {}  ({})\n", count, format_size(tensors.each),
                        to_string(tensors.owner), tensors.name.empty() ? "-" : tensors.name, origin);
  }
  return text;
}

std::string gpu_block(const DryRunGpu& gpu, bool context_is_given, TextStyle style) {
  std::string text = fmt::format("GPU {}  {}  {}\n", gpu.index, gpu.name, format_size(gpu.total));
  if (gpu.allocated) text += peak_line("allocated", *gpu.allocated);
  if (gpu.reserved) text += peak_line("reserved", *gpu.reserved);
  text += fmt::format("  {:<10} {}   with {} of CUDA context{}\n", "device", size_text(gpu.device_peak),
                      format_size(gpu.context), context_is_given ? ", as given" : "");
  text += fmt::format("  {:<10} {}   {}\n", gpu.left() < Bytes(0) ? "missing" : "left",
                      size_text(gpu.left() < Bytes(0) ? -gpu.left() : gpu.left()),
                      coloured(bar(gpu.left(), gpu.total), 32, style));
  return trimmed_lines(text + phases_table(gpu) + parts_table(gpu, style) + largest_table(gpu) + "\n");
}

std::string counted(std::int64_t count, const char* one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

/// Some sizes were taken for what they may not be, and nobody has tried others.
bool has_guessed_sizes(const DryRun& run) {
  return !run.values.empty() && !run.value_check && !Json::parse(run.values).value("sized", Json::array()).empty();
}

std::string verdict_line(const DryRun& run) {
  switch (run.verdict) {
    case DryRunVerdict::kFits: {
      if (run.value_check && !run.value_check->difference.empty())
        return "It fits with both of the values that were tried; real ones may lie elsewhere.\n";
      if (run.out_of_memory_errors() == 0)
        return has_guessed_sizes(run) ? "It fits with those sizes; with others it may not.\n" : "It fits.\n";
      return fmt::format("The program ran to its end; it recovered from {}.\n",
                         counted(run.out_of_memory_errors(), "out-of-memory error"));
    }
    case DryRunVerdict::kFitsWithRetries:
      if (run.out_of_memory_errors() > 0) {
        return fmt::format("The program ran to its end; it recovered from {}, and PyTorch emptied its cache {}.\n",
                           counted(run.out_of_memory_errors(), "out-of-memory error"), counted(run.retries(), "time"));
      }
      return fmt::format("It fits, but PyTorch had to empty its cache {} to go on: slower.\n",
                         counted(run.retries(), "time"));
    case DryRunVerdict::kDoesNotFit:
      if (run.script_exit == 0)
        return "It does not fit: its processes together take more than the card has, which none of them could see.\n";
      return fmt::format("It does not fit: the program ended with out-of-memory (exit code {}).\n", run.script_exit);
    case DryRunVerdict::kIncomplete:
      if (run.value_check && run.value_check->decides())
        return "There is no answer: whether it fits hangs on values that were not computed (see above).\n";
      if (run.unmodelled.empty()) {
        return fmt::format(
            "There is no answer: {} that used CUDA ended without telling what it took (killed, perhaps).\n",
            counted(run.lost_processes, "process"));
      }
      return "There is no answer: the program called what is not modelled (see above). What that would have taken is "
             "missing in the figures.\n";
    case DryRunVerdict::kNoCuda:
      return "No process used CUDA, so there is nothing to report.\n";
    case DryRunVerdict::kInterrupted:
      if (run.gpus.empty()) return "It was interrupted; what it took until then is not known.\n";
      return "It was interrupted; up to then it fits.\n";
    case DryRunVerdict::kScriptFailed:
      return fmt::format("The program failed for reasons of its own (exit code {}).\n", run.script_exit);
  }
  return {};
}

/// Results whose size a real run takes from values that were not computed here.
std::string guessed_sizes(const Json& values) {
  std::string text;
  for (const Json& sized : values.value("sized", Json::array())) {
    const auto place = sized.value("place", "");
    text += fmt::format("  {}: {} was taken to find {} of at most {} ({})\n", place.empty() ? "autograd" : place,
                        sized.value("operator", ""), sized.value("taken", std::int64_t{0}),
                        sized.value("most", std::int64_t{0}), counted(sized.value("times", std::int64_t{0}), "time"));
  }
  if (text.empty()) return {};
  return "Sizes that hang on values which were not computed (--check_values tries others):\n" + text;
}

std::string mirrored_text(const Json& values) {
  std::int64_t times = 0;
  const Json mirrored = values.value("mirrored", Json::object());
  for (const auto& [name, count] : mirrored.items()) times += count.get<std::int64_t>();
  if (times == 0) return {};
  return fmt::format("Other ranks were taken to send what this one sends ({}): where theirs differ, so may the run.\n",
                     counted(times, "time"));
}

/// Where the program looked at numbers that were not computed: a loss to print, or one to decide by.
std::string reads_text(const Json& values) {
  constexpr std::size_t kMostPlaces = 4;
  std::vector<std::string> places;
  std::size_t more = 0;
  const Json read = values.value("read", Json::object());
  for (const auto& [place, count] : read.items()) {
    if (place.empty()) continue;
    if (places.size() < kMostPlaces) {
      places.push_back(fmt::format("{} ({})", place, counted(count.get<std::int64_t>(), "time")));
    } else {
      ++more;
    }
  }
  if (places.empty()) return {};
  return fmt::format(
      "Numbers that were not computed were read as 0, here; if memory hangs on one, --check_values says so:\n  {}{}\n",
      fmt::join(places, "\n  "),
      more > 0 ? fmt::format("\n  and {} more", counted(static_cast<std::int64_t>(more), "place")) : "");
}

/// Both ends of it, where the size of memory hangs on values.
std::string value_check_text(const DryRun& run) {
  if (!run.value_check) return {};
  const ValueCheck& check = *run.value_check;
  if (check.difference.empty()) return "Values: the same allocations when skipped memory reads as something else.\n";
  std::string text = fmt::format("Values that were never computed decide about memory: {}\n", check.difference);
  text += fmt::format("  with these: {}; with others: {}", to_string(check.first), to_string(check.second));
  for (const DryRunGpu& gpu : check.gpus)
    text +=
        fmt::format(", GPU {} takes {} ({})", gpu.index, format_size(gpu.device_peak),
                    gpu.left() < Bytes(0) ? format_size(-gpu.left()) + " missing" : format_size(gpu.left()) + " left");
  return text + "\n";
}

/// What the values on the card rest on, where that may matter.
std::string values_text(const DryRun& run) {
  if (run.values.empty()) return {};
  const Json values = Json::parse(run.values);
  if (values.contains("note"))
    return fmt::format("Small values on the card were not true: {}.\n", values["note"].get<std::string>());
  std::string sizes = reads_text(values) + guessed_sizes(values) + mirrored_text(values);
  const std::size_t routed = values.value("routed", Json::array()).size();
  if (routed == 0) return sizes;
  return sizes + fmt::format("Experts: {} (--routing {}), in {}.\n",
                             values.value("routing", "") == "worst" ? "all tokens went to the same ones"
                                                                    : "tokens were spread evenly",
                             values.value("routing", "balanced"), counted(static_cast<std::int64_t>(routed), "place"));
}

/// Where the tensors alone would fit, it is the allocator that does not.
std::string fragmentation_hint(const DryRunGpu& beyond, const DryRunGpu& card) {
  if (!beyond.allocated || beyond.allocated->bytes + card.context + card.other > card.total) return {};
  return fmt::format(
      "  Its tensors alone would fit; the rest is memory that PyTorch's allocator holds in pieces it cannot use.\n"
      "  PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True wastes less of it: try the dry run with that.\n");
}

std::string beyond_table(const DryRun& run) {
  std::string text;
  for (const DryRunGpu& gpu : run.beyond) {
    const auto fits_in =
        std::find_if(run.gpus.begin(), run.gpus.end(), [&](const DryRunGpu& g) { return g.index == gpu.index; });
    text += fmt::format("On a card without end, GPU {} takes {} ({} allocated, {} reserved)", gpu.index,
                        format_size(gpu.device_peak), gpu.allocated ? format_size(gpu.allocated->bytes) : "?",
                        gpu.reserved ? format_size(gpu.reserved->bytes) : "?");
    if (fits_in != run.gpus.end() && gpu.device_peak + fits_in->other > fits_in->total)
      text +=
          fmt::format(": {} more than this one has", format_size(gpu.device_peak + fits_in->other - fits_in->total));
    text += ".\n";
    if (fits_in != run.gpus.end()) text += fragmentation_hint(gpu, *fits_in);
  }
  return text;
}

std::string lag_text(const DryRun& run) {
  if (run.lags) return "Work on the cards lagged behind the host (--lag on).\n";
  if (!run.with_lag) return {};
  std::string text = "When work on the cards lags behind the host";
  if (run.with_lag->verdict != run.verdict) text += fmt::format(" (verdict: {})", to_string(run.with_lag->verdict));
  text += ":\n";
  for (const DryRunGpu& gpu : run.with_lag->gpus) {
    const auto before = std::ranges::find(run.gpus, gpu.index, &DryRunGpu::index);
    const Bytes more = gpu.device_peak - (before == run.gpus.end() ? Bytes(0) : before->device_peak);
    text += fmt::format("  GPU {} takes {} ({} allocated, {} reserved), {}\n", gpu.index, format_size(gpu.device_peak),
                        gpu.allocated ? format_size(gpu.allocated->bytes) : "?",
                        gpu.reserved ? format_size(gpu.reserved->bytes) : "?",
                        more == Bytes(0)  ? "the same"
                        : more < Bytes(0) ? format_size(-more) + " less"
                                          : format_size(more) + " more");
  }
  return text;
}

std::string list(const char* heading, const std::map<std::string, std::int64_t>& counts) {
  if (counts.empty()) return {};
  std::string text = fmt::format("{}\n", heading);
  for (const auto& [name, count] : counts) text += fmt::format("  {} ({})\n", name, counted(count, "time"));
  return text;
}

}  // namespace

std::string place_text(const std::string& phase, std::int64_t step) {
  if (phase == kPhases[0]) return phase;
  if (phase == "evaluation" || phase == "checkpoint save") return fmt::format("{}, after step {}", phase, step);
  return phase.empty() ? fmt::format("step {}", step + 1) : fmt::format("{}, step {}", phase, step + 1);
}

std::string describe(const DryRun& run, TextStyle style) {
  std::string text;
  if (run.rank && run.rank->world_size > 1) {
    text += fmt::format("Rank {} of {}, alone: the others are taken to hold the same data.\n", run.rank->rank,
                        run.rank->world_size);
  }
  for (const DryRunGpu& gpu : run.gpus) text += gpu_block(gpu, run.context_is_given, style);
  if (run.host_peak > Bytes(0)) {
    text += fmt::format("Host memory: {} resident", format_size(run.host_peak));
    if (run.pinned_host_peak > Bytes(0)) text += fmt::format(", {} page-locked", format_size(run.pinned_host_peak));
    text += '\n';
  }
  if (!run.torch.empty()) {
    text += fmt::format("PyTorch {}, {}", run.torch, counted(run.steps, "optimizer step"));
    if (run.loaders_ended > 0) text += fmt::format(", {} ended early", counted(run.loaders_ended, "data loader"));
    text += '\n';
  }
  if (const auto missing = run.phases_not_reached(); !missing.empty())
    text += fmt::format("Not reached: {}.\n", fmt::join(missing, ", "));
  text += values_text(run);
  text += value_check_text(run);
  text += lag_text(run);
  for (const std::string& note : run.notes) text += fmt::format("Note: {}.\n", note);
  text += list("Not modelled:", run.unmodelled);
  text += list("Assumed:", run.assumed);
  return text + beyond_table(run) + verdict_line(run);
}

}  // namespace vramwise
