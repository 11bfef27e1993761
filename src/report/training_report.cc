// Columns are as wide as their widest entry; bars are in proportion to the peak.

#include "report/training_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "base/units.h"

namespace vramwise {
namespace {

constexpr int kSchemaVersion = 1;
constexpr std::int64_t kBarWidth = 40;

using Parts = std::array<std::pair<const char*, Bytes>, 8>;

Parts parts_of(const TrainingEstimate& estimate) {
  const Breakdown& b = estimate.at_peak;
  return {{{"weights", b.weights},
           {"gradients", b.gradients},
           {"optimizer states", b.optimizer_states},
           {"activations", b.activations},
           {"logits and loss", b.loss},
           {"temporaries", b.temporaries},
           {"workspaces", b.workspaces},
           {"block rounding", estimate.unsplit}}};
}

std::string bar(Bytes part, Bytes whole) {
  if (whole <= Bytes(0)) return {};
  const double share = static_cast<double>(part.count()) / static_cast<double>(whole.count());
  return std::string(static_cast<std::size_t>(std::lround(share * static_cast<double>(kBarWidth))), '#');
}

std::string percent(Bytes part, Bytes whole) {
  const double share = whole > Bytes(0) ? static_cast<double>(part.count()) / static_cast<double>(whole.count()) : 0;
  return fmt::format("{:.1f} %", 100 * share);
}

void append_row(std::string& text, const char* name, Bytes bytes, Bytes whole) {
  std::string row =
      fmt::format("  {:<17}{:>11}  {:>7}  {}", name, format_size(bytes), percent(bytes, whole), bar(bytes, whole));
  row.erase(row.find_last_not_of(' ') + 1);
  text += row + "\n";
}

void append_inputs(std::string& text, const std::vector<EstimateInput>& inputs) {
  std::size_t name = 0;
  std::size_t value = 0;
  for (const EstimateInput& input : inputs) {
    name = std::max(name, input.name.size());
    value = std::max(value, input.value.size());
  }
  for (const EstimateInput& input : inputs)
    text += fmt::format("  {:<{}}  {:<{}}  {}\n", input.name, name, input.value, value, input.source);
}

std::string verdict(const TrainingReport& report) {
  const TrainingEstimate& e = report.estimate;
  if (!report.hardware.total) return "How much memory the card has is not known.\n";
  const std::string total = format_size(*report.hardware.total);
  if (e.fits && e.allocation_retries == 0) {
    return fmt::format("Fits: {} of {} stay free.\n", format_size(*report.hardware.total - e.device), total);
  }
  if (e.fits) {
    return fmt::format("Fits in {}, but slowly: the allocator gives its cache back {} {} in {} steps.\n", total,
                       e.allocation_retries, e.allocation_retries == 1 ? "time" : "times", report.estimate.steps);
  }
  // A replay that ends beyond all cards does not tell how much the run would take.
  const std::string taken = e.device > *report.hardware.total ? ": it takes " + format_size(e.device) : "";
  return fmt::format(
      "Does not fit in {}{}. Memory runs out in the {} phase, at a request of {} for which {} are missing.\n", total,
      taken, training_phase_name(*e.out_of_memory_phase), format_size(Bytes(e.out_of_memory->requested_bytes)),
      format_size(Bytes(e.out_of_memory->missing_bytes)));
}

std::string speed(const TrainingReport& report) {
  if (!report.step_seconds) return {};
  const double seconds = *report.step_seconds;
  const bool is_text = report.step_tokens > 0;
  return fmt::format("A step takes about {:.3g} s: {:.0f} {} a second, by the card's rates (not measured).\n", seconds,
                     static_cast<double>(is_text ? report.step_tokens : report.step_samples) / seconds,
                     is_text ? "tokens" : "samples");
}

std::string key_of(const char* name) {
  std::string key = name;
  std::replace(key.begin(), key.end(), ' ', '_');
  return key + "_bytes";
}

Json out_of_memory_json(const TrainingEstimate& e) {
  if (!e.out_of_memory) return nullptr;
  return {{"phase", training_phase_name(*e.out_of_memory_phase)},
          {"requested_bytes", e.out_of_memory->requested_bytes},
          {"missing_bytes", e.out_of_memory->missing_bytes}};
}

}  // namespace

std::string training_text(const TrainingReport& report) {
  const TrainingEstimate& e = report.estimate;
  std::string text = fmt::format("{} on {}\n\n", report.model, report.card);
  append_inputs(text, report.inputs);
  text += fmt::format("\nPeaks of {} steps\n", e.steps);
  text += fmt::format("  {:<17}{:>11}  in the {} phase: live tensors\n", "allocated", format_size(e.allocated),
                      training_phase_name(e.phase));
  text += fmt::format("  {:<17}{:>11}  what PyTorch's allocator comes to hold\n", "reserved", format_size(e.reserved));
  text += fmt::format("  {:<17}{:>11}  with {} for CUDA's context", "device", format_size(e.device),
                      format_size(report.hardware.context));
  if (report.hardware.communicator > Bytes(0))
    text += fmt::format(", {} for NCCL", format_size(report.hardware.communicator));
  text += '\n';
  if (e.host_managed > Bytes(0))
    text += fmt::format("  {:<17}{:>11}  states of the paged optimizer (cudaMallocManaged)\n", "on the host",
                        format_size(e.host_managed));
  if (e.host_pinned > Bytes(0))
    text += fmt::format("  {:<17}{:>11}  a process: shards and gradients, pinned in blocks of powers of two\n",
                        "on the host", format_size(e.host_pinned));
  if (e.host_pageable > Bytes(0))
    text += fmt::format("  {:<17}{:>11}  a process: states of the optimizer, which steps there\n", "on the host",
                        format_size(e.host_pageable));
  text += "\nAlive at the allocated peak\n";
  for (const auto& [name, bytes] : parts_of(e)) append_row(text, name, bytes, e.allocated);
  text += "\nAllocated peak of each phase\n";
  for (int i = 0; i < kTrainingPhases; ++i)
    append_row(text, training_phase_name(static_cast<TrainingPhase>(i)), e.phase_allocated[i], e.allocated);
  text += "\n" + verdict(report) + speed(report);
  for (const std::string& note : report.notes) text += fmt::format("Note: {}\n", note);
  return text;
}

Json training_json(const TrainingReport& report) {
  const TrainingEstimate& e = report.estimate;
  Json inputs = Json::array();
  for (const EstimateInput& input : report.inputs)
    inputs.push_back({{"name", input.name}, {"value", input.value}, {"source", input.source}});
  Json parts;
  for (const auto& [name, bytes] : parts_of(e)) parts[key_of(name)] = bytes.count();
  Json phases;
  for (int i = 0; i < kTrainingPhases; ++i)
    phases[key_of(training_phase_name(static_cast<TrainingPhase>(i)))] = e.phase_allocated[i].count();
  return {{"schema", "vramwise.estimate"},
          {"schema_version", kSchemaVersion},
          {"model", report.model},
          {"card", report.card},
          {"card_total_bytes", report.hardware.total ? Json(report.hardware.total->count()) : Json(nullptr)},
          {"context_bytes", report.hardware.context.count()},
          {"communicator_bytes", report.hardware.communicator.count()},
          {"inputs", inputs},
          {"parameters", e.parameters},
          {"trained_parameters", e.trained_parameters},
          {"steps", e.steps},
          {"allocated_bytes", e.allocated.count()},
          {"reserved_bytes", e.reserved.count()},
          {"device_bytes", e.device.count()},
          {"host_managed_bytes", e.host_managed.count()},
          {"host_pinned_bytes", e.host_pinned.count()},
          {"host_pageable_bytes", e.host_pageable.count()},
          {"phase", training_phase_name(e.phase)},
          {"at_peak", parts},
          {"phases", phases},
          {"fits", e.fits},
          {"allocation_retries", e.allocation_retries},
          {"out_of_memory", out_of_memory_json(e)},
          {"step_seconds", report.step_seconds ? Json(*report.step_seconds) : Json(nullptr)},
          {"matmul_flops_per_step", e.step_work.matmul_flops + e.step_work.attention_flops},
          {"notes", report.notes}};
}

}  // namespace vramwise
