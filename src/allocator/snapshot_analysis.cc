// The state comes from PyTorch's own list of segments; the history is replayed through the model of the allocator.
#include "allocator/snapshot_analysis.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

namespace vramwise {
namespace {

SnapshotState state_of(const MemorySnapshot& snapshot, std::int64_t device) {
  SnapshotState state;
  for (const SnapshotSegment& segment : snapshot.segments) {
    if (segment.device != device) continue;
    ++state.segments;
    state.reserved_bytes += segment.size;
    bool in_use = false;
    for (const SnapshotBlock& block : segment.blocks) {
      in_use = in_use || block.state != SnapshotBlock::State::kFree;
      if (block.state == SnapshotBlock::State::kAllocated) state.allocated_bytes += block.size;
      if (block.state == SnapshotBlock::State::kPendingFree) state.pending_free_bytes += block.size;
      if (block.state == SnapshotBlock::State::kFree)
        state.largest_free_bytes = std::max(state.largest_free_bytes, block.size);
    }
    if (!in_use) state.releasable_bytes += segment.size;
  }
  return state;
}

bool is_of_pytorch(const std::string& file) {
  return file.find("/torch/") != std::string::npos || file.find("/vramwise_hook/") != std::string::npos ||
         file.starts_with('<');
}

/// Frames of C++ that every allocation has, which tell nothing.
bool is_of_allocating(const std::string& function) {
  for (const char* part :
       {"unwind", "CapturedTraceback", "gather", "CachingAllocator", "Allocator::allocate", "empty_"})
    if (function.find(part) != std::string::npos) return true;
  return false;
}

std::vector<StackUse> uses_at_peak(const MemorySnapshot& snapshot, const TracedEvents& traced, const Replay& recorded) {
  std::map<std::tuple<std::string_view, std::int64_t, std::string_view>, StackUse> by_place;
  for (const AllocationId id : alive_after(traced.events, recorded.allocated.event)) {
    const TracedAllocation& allocation = traced.allocations[id];
    const SnapshotFrame* frame = telling_frame(snapshot, allocation.stack);
    StackUse& use = frame == nullptr ? by_place[{}] : by_place[{frame->file, frame->line, frame->function}];
    if (use.blocks == 0) use.stack = allocation.stack;
    use.bytes += allocation.bytes;
    ++use.blocks;
    if (allocation.before_history) ++use.before_history;
  }
  std::vector<StackUse> uses;
  uses.reserve(by_place.size());
  for (const auto& [place, use] : by_place) uses.push_back(use);
  std::ranges::stable_sort(uses, std::ranges::greater(), &StackUse::bytes);
  return uses;
}

}  // namespace

std::vector<std::size_t> devices_of(const MemorySnapshot& snapshot) {
  std::vector<std::size_t> devices;
  for (std::size_t i = 0; i < snapshot.traces.size(); ++i)
    if (!snapshot.traces[i].empty()) devices.push_back(i);
  for (const SnapshotSegment& segment : snapshot.segments) devices.push_back(static_cast<std::size_t>(segment.device));
  std::ranges::sort(devices);
  const auto repeated = std::ranges::unique(devices);
  devices.erase(repeated.begin(), repeated.end());
  return devices;
}

const SnapshotFrame* telling_frame(const MemorySnapshot& snapshot, StackIndex stack) {
  const SnapshotFrame* python = nullptr;
  for (const std::uint32_t index : snapshot.stacks[stack]) {
    const SnapshotFrame& frame = snapshot.frames[index];
    if (!frame.file.ends_with(".py") && !frame.file.starts_with("<ipython")) continue;
    if (!is_of_pytorch(frame.file)) return &frame;
    if (python == nullptr) python = &frame;
  }
  if (python != nullptr) return python;
  const auto& frames = snapshot.stacks[stack];
  const auto telling = std::ranges::find_if(
      frames, [&](std::uint32_t index) { return !is_of_allocating(snapshot.frames[index].function); });
  if (telling != frames.end()) return &snapshot.frames[*telling];
  return frames.empty() ? nullptr : &snapshot.frames[frames.front()];
}

Result<SnapshotAnalysis> analyze_snapshot(const MemorySnapshot& snapshot, std::size_t device,
                                          const std::optional<WhatIfCard>& card) {
  SnapshotAnalysis analysis;
  analysis.device = static_cast<std::int64_t>(device);
  analysis.state = state_of(snapshot, analysis.device);
  analysis.entries = device < snapshot.traces.size() ? snapshot.traces[device].size() : 0;
  analysis.has_history = analysis.entries > 0;
  if (!analysis.has_history) return analysis;
  VRAMWISE_ASSIGN_OR_RETURN(analysis.traced, events_of_trace(snapshot, device));
  for (const TraceEntry& entry : snapshot.traces[device]) {
    if (entry.action != TraceAction::kOutOfMemory) continue;
    analysis.first_out_of_memory = entry;
    break;
  }
  const auto& events = analysis.traced.events;
  analysis.recorded = replay(events, snapshot.options);
  analysis.at_peak = uses_at_peak(snapshot, analysis.traced, analysis.recorded);

  AllocatorOptions other = snapshot.options;
  other.expandable_segments = !other.expandable_segments;
  const std::string other_name = other.expandable_segments ? "expandable_segments:True" : "expandable_segments:False";
  const auto add = [&](const std::string& name, const AllocatorOptions& options, const DeviceMemoryLimits& limits) {
    analysis.what_if.push_back(
        {.name = name, .options = options, .limits = limits, .replay = replay(events, options, limits)});
  };
  add(other_name, other, {});
  if (card) {
    add(card->name, snapshot.options, card->limits);
    add(card->name + " with " + other_name, other, card->limits);
  }
  return analysis;
}

}  // namespace vramwise
