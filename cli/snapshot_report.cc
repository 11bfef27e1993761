// What was measured (by PyTorch, in the file) and what is modelled (by a replay) are told apart throughout.
#include "cli/snapshot_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/units.h"

namespace vramwise::cli {
namespace {

std::string size(std::int64_t bytes) { return format_size(Bytes(bytes)); }

std::string change(std::int64_t bytes) {
  if (bytes == 0) return "the same";
  return fmt::format("{} {}", size(bytes < 0 ? -bytes : bytes), bytes < 0 ? "less" : "more");
}

std::string percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "0 %" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string place(const MemorySnapshot& snapshot, StackIndex stack) {
  const SnapshotFrame* frame = telling_frame(snapshot, stack);
  if (frame == nullptr) return "(no stack was recorded)";
  return frame->line > 0 ? fmt::format("{}:{} {}", frame->file, frame->line, frame->function) : frame->function;
}

/// "entry 17 of 300", or what stands for it.
std::string moment(const SnapshotAnalysis& analysis, std::size_t event) {
  const auto& entries = analysis.traced.entries;
  if (event >= entries.size() || entries[event] == TracedEvents::kBeforeHistory) return "before the history began";
  return fmt::format("entry {} of {}", entries[event] + 1, analysis.entries);
}

std::string outcome_text(const MemorySnapshot& snapshot, const SnapshotAnalysis& analysis, const Replay& replay) {
  if (replay.fits()) {
    const auto retries = replay.stats.num_alloc_retries;
    if (retries == 0) return "fits";
    return fmt::format("fits, after releasing cached memory {} {}", retries, retries == 1 ? "time" : "times");
  }
  const auto& failure = *replay.out_of_memory;
  std::string text =
      fmt::format("out of memory at {}: {} more than there is, for a request of {}", moment(analysis, failure.event),
                  size(failure.missing_bytes), size(failure.requested_bytes));
  const AllocationEvent& event = analysis.traced.events[failure.event];
  if (event.kind == EventKind::kAllocate)
    text += fmt::format("\n      at {}", place(snapshot, analysis.traced.allocations[event.id].stack));
  return text;
}

void append_state(std::string& text, const SnapshotState& state) {
  text += fmt::format("  now        allocated {}, reserved {} in {} segments; free {} ({} of what is reserved)\n",
                      size(state.allocated_bytes), size(state.reserved_bytes), state.segments, size(state.free_bytes()),
                      percent(state.free_bytes(), state.reserved_bytes));
  if (state.free_bytes() > 0)
    text += fmt::format(
        "             largest free block {}; empty_cache() would give back {}, {} is between blocks in use\n",
        size(state.largest_free_bytes), size(state.releasable_bytes),
        size(state.free_bytes() - state.releasable_bytes));
  if (state.pending_free_bytes > 0)
    text +=
        fmt::format("             {} is freed but still in use by another stream\n", size(state.pending_free_bytes));
}

void append_peaks(std::string& text, const SnapshotReport& report, const SnapshotAnalysis& analysis) {
  const Replay& replay = analysis.recorded;
  text += fmt::format("  peak       allocated {} at {}\n", size(replay.allocated.bytes),
                      moment(analysis, replay.allocated.event));
  const auto unused = replay.reserved.bytes - replay.allocated_at_reserved_peak;
  text += fmt::format("             reserved {} at {}, of which {} ({}) was cached or fragmented\n",
                      size(replay.reserved.bytes), moment(analysis, replay.reserved.event), size(unused),
                      percent(unused, replay.reserved.bytes));
  if (analysis.traced.has_segments)
    text += fmt::format("             as recorded, reserved peaked at {} ({} in the replay)\n",
                        size(analysis.traced.peak_reserved_bytes),
                        change(replay.reserved.bytes - analysis.traced.peak_reserved_bytes));
  if (const auto& failure = analysis.first_out_of_memory)
    text += fmt::format("  the program ran out of memory: {} were asked for, {} were free\n      at {}\n",
                        size(failure->size), size(failure->address), place(report.snapshot, failure->stack));
}

void append_alive(std::string& text, const SnapshotReport& report, const SnapshotAnalysis& analysis) {
  text += "  alive at the peak of allocated memory\n";
  const std::size_t shown = std::min(report.top, analysis.at_peak.size());
  for (std::size_t i = 0; i < shown; ++i) {
    const StackUse& use = analysis.at_peak[i];
    text += fmt::format("    {:>12} {:>6}  {}{}\n", size(use.bytes), fmt::format("{}x", use.blocks),
                        place(report.snapshot, use.stack),
                        use.before_history == use.blocks ? " (before the history began)" : "");
  }
  std::int64_t rest = 0;
  for (std::size_t i = shown; i < analysis.at_peak.size(); ++i) rest += analysis.at_peak[i].bytes;
  if (rest > 0)
    text += fmt::format("    {:>12}         at {} other places\n", size(rest), analysis.at_peak.size() - shown);
}

void append_what_if(std::string& text, const SnapshotReport& report, const SnapshotAnalysis& analysis) {
  text += "  what would have changed, by replaying the same allocations\n";
  for (const WhatIf& each : analysis.what_if) {
    text += fmt::format("    {}: {}\n", each.name, outcome_text(report.snapshot, analysis, each.replay));
    if (each.replay.fits())
      text += fmt::format("      reserved {} at most ({}), of which {} cached or fragmented\n",
                          size(each.replay.reserved.bytes),
                          change(each.replay.reserved.bytes - analysis.recorded.reserved.bytes),
                          size(each.replay.reserved.bytes - each.replay.allocated_at_reserved_peak));
  }
}

Json failure_json(const SnapshotAnalysis& analysis, const Replay& replay) {
  if (replay.fits()) return nullptr;
  const auto& failure = *replay.out_of_memory;
  const std::size_t entry = analysis.traced.entries[failure.event];
  return {{"entry", entry == TracedEvents::kBeforeHistory ? Json(nullptr) : Json(entry)},
          {"requested_bytes", failure.requested_bytes},
          {"missing_bytes", failure.missing_bytes}};
}

Json peak_entry(const SnapshotAnalysis& analysis, std::size_t event) {
  const auto& entries = analysis.traced.entries;
  if (event >= entries.size() || entries[event] == TracedEvents::kBeforeHistory) return nullptr;
  return entries[event];
}

Json replay_json(const SnapshotAnalysis& analysis, const Replay& replay) {
  return {{"peak_allocated_bytes", replay.allocated.bytes},
          {"peak_allocated_entry", peak_entry(analysis, replay.allocated.event)},
          {"peak_reserved_bytes", replay.reserved.bytes},
          {"peak_reserved_entry", peak_entry(analysis, replay.reserved.event)},
          {"allocated_at_peak_reserved_bytes", replay.allocated_at_reserved_peak},
          {"retries", replay.stats.num_alloc_retries},
          {"fits", replay.fits()},
          {"out_of_memory", failure_json(analysis, replay)}};
}

Json frames_json(const MemorySnapshot& snapshot, StackIndex stack) {
  Json frames = Json::array();
  for (const std::uint32_t index : snapshot.stacks[stack]) {
    const SnapshotFrame& frame = snapshot.frames[index];
    frames.push_back({{"function", frame.function}, {"file", frame.file}, {"line", frame.line}});
  }
  return frames;
}

Json history_json(const SnapshotReport& report, const SnapshotAnalysis& analysis) {
  if (!analysis.has_history) return nullptr;
  Json history = {{"entries", analysis.entries},
                  {"emptied_caches", analysis.traced.emptied_caches},
                  {"private_pool_allocations", analysis.traced.private_allocations},
                  {"recorded_peak_reserved_bytes", nullptr},
                  {"replay", replay_json(analysis, analysis.recorded)},
                  {"out_of_memory", nullptr},
                  {"alive_at_peak", Json::array()},
                  {"what_if", Json::array()}};
  if (analysis.traced.has_segments) history["recorded_peak_reserved_bytes"] = analysis.traced.peak_reserved_bytes;
  if (const auto& failure = analysis.first_out_of_memory)
    history["out_of_memory"] = {{"requested_bytes", failure->size},
                                {"free_bytes", failure->address},
                                {"frames", frames_json(report.snapshot, failure->stack)}};
  for (std::size_t i = 0; i < std::min(report.top, analysis.at_peak.size()); ++i) {
    const StackUse& use = analysis.at_peak[i];
    history["alive_at_peak"].push_back({{"bytes", use.bytes},
                                        {"blocks", use.blocks},
                                        {"blocks_before_history", use.before_history},
                                        {"where", place(report.snapshot, use.stack)},
                                        {"frames", frames_json(report.snapshot, use.stack)}});
  }
  for (const WhatIf& each : analysis.what_if) {
    Json entry = replay_json(analysis, each.replay);
    entry["name"] = each.name;
    entry["expandable_segments"] = each.options.expandable_segments;
    history["what_if"].push_back(std::move(entry));
  }
  return history;
}

std::string printable(const std::string& text) {
  std::string clean = text;
  std::ranges::replace_if(clean, [](unsigned char each) { return each < 32 || each == 127; }, '?');
  return clean;
}

}  // namespace

std::string snapshot_text(const SnapshotReport& report) {
  std::string text =
      fmt::format("{}\n  allocator settings: {}\n", report.file,
                  report.snapshot.options_text.empty() ? "PyTorch's defaults" : report.snapshot.options_text);
  for (const SnapshotAnalysis& analysis : report.devices) {
    text += fmt::format("\ndevice {}\n", analysis.device);
    append_state(text, analysis.state);
    if (!analysis.has_history) {
      text += "  no history: torch.cuda.memory._record_memory_history() starts one\n";
      continue;
    }
    append_peaks(text, report, analysis);
    append_alive(text, report, analysis);
    append_what_if(text, report, analysis);
  }
  for (const std::string& note : report.notes) text += fmt::format("\nnote: {}\n", note);
  // File names and functions come from the snapshot; they must not reach the terminal as commands.
  std::string clean;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    clean += printable(text.substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  return clean;
}

Json snapshot_json(const SnapshotReport& report) {
  Json json = {{"schema", "vramwise.snapshot"}, {"schema_version", 1},
               {"file", report.file},           {"allocator_settings", report.snapshot.options_text},
               {"notes", report.notes},         {"devices", Json::array()}};
  for (const SnapshotAnalysis& analysis : report.devices) {
    const SnapshotState& state = analysis.state;
    json["devices"].push_back({{"device", analysis.device},
                               {"now",
                                {{"allocated_bytes", state.allocated_bytes},
                                 {"pending_free_bytes", state.pending_free_bytes},
                                 {"reserved_bytes", state.reserved_bytes},
                                 {"free_bytes", state.free_bytes()},
                                 {"largest_free_bytes", state.largest_free_bytes},
                                 {"releasable_bytes", state.releasable_bytes},
                                 {"segments", state.segments}}},
                               {"history", history_json(report, analysis)}});
  }
  return json;
}

}  // namespace vramwise::cli
