// vramwise gpus: the catalogue of cards, or the part of it that has the given words.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "gpus/catalogue.h"

namespace vramwise::cli {
namespace {

struct Options {
  std::vector<std::string> words;
  bool as_json = false;
};

bool has_all(const GpuModel& gpu, const std::vector<std::string>& words) {
  const std::string text = to_lower(fmt::format("{} {} {} {}", gpu.id, gpu.name, gpu.architecture, gpu.target));
  return std::all_of(words.begin(), words.end(),
                     [&](const std::string& word) { return text.find(to_lower(word)) != std::string::npos; });
}

std::string gib(const std::optional<Bytes>& bytes) { return bytes ? format_gib(*bytes) : "-"; }

std::string rate(const std::optional<double>& value) { return value ? fmt::format("{:g}", *value) : "-"; }

Json bytes_json(const std::optional<Bytes>& bytes) { return bytes ? Json(bytes->count()) : Json(nullptr); }

Json rate_json(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const std::vector<const GpuModel*>& cards) {
  Json list = Json::array();
  for (const GpuModel* gpu : cards) {
    list.push_back({{"id", gpu->id},
                    {"name", gpu->name},
                    {"architecture", gpu->architecture},
                    {"target", gpu->target},
                    {"memory_gb", gpu->memory_gb},
                    {"nvml_total_bytes", bytes_json(gpu->nvml_total)},
                    {"cuda_total_bytes", bytes_json(gpu->cuda_total)},
                    {"cuda_total_is_derived", gpu->cuda_total_is_derived},
                    {"units", gpu->units ? Json(*gpu->units) : Json(nullptr)},
                    {"bandwidth_gb_s", rate_json(gpu->bandwidth_gb_s)},
                    {"fp32_tflops", rate_json(gpu->tflops.fp32)},
                    {"fp16_tflops", rate_json(gpu->tflops.fp16)},
                    {"bf16_tflops", rate_json(gpu->tflops.bf16)}});
  }
  return {{"schema", "vramwise.gpus"}, {"schema_version", 1}, {"gpus", std::move(list)}};
}

Outcome gpus(const Options& options) {
  std::vector<const GpuModel*> found;
  for (const GpuModel& gpu : gpu_catalogue())
    if (has_all(gpu, options.words)) found.push_back(&gpu);
  if (options.as_json) {
    fmt::print("{}\n", to_json(found).dump(2));
    return kExitDone;
  }
  if (found.empty()) {
    return usage_error(fmt::format("no card of the catalogue has \"{}\" in its name", fmt::join(options.words, " ")),
                       "`vramwise gpus` lists all. A card that is not there: its memory, as in --gpu 24gb.");
  }
  fmt::print("{:<26} {:<44} {:>9} {:>9} {:<8} {:>7} {:>9}\n", "--gpu", "name", "nvidia-smi", "CUDA", "target", "GB/s",
             "16-bit");
  for (const GpuModel* gpu : found) {
    fmt::print("{:<26} {:<44} {:>9} {:>9} {:<8} {:>7} {:>9}\n", gpu->id, gpu->name, gib(gpu->nvml_total),
               gib(gpu->cuda_total) + (gpu->cuda_total_is_derived ? "*" : ""), gpu->target, rate(gpu->bandwidth_gb_s),
               rate(gpu->tflops.fp16));
  }
  fmt::print(
      "Memory in GB (powers of 1024); *: derived from cards alike. 16-bit: dense TFLOP/s. -: no source was found.\n");
  return kExitDone;
}

}  // namespace

void add_gpus_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("gpus", "List the cards that --gpu knows");
  auto options = std::make_shared<Options>();
  command->add_option("words", options->words, "Only cards with all of these in their name: rtx 4090")->take_all();
  command->add_flag("--json", options->as_json, "Print JSON");
  command->callback([options, &outcome] { outcome = gpus(*options); });
}

}  // namespace vramwise::cli
