// Blocks become a list of changes in the order of the events; their running sum is walked twice, first for the peak,
// then for the pieces of the timeline.
#include "dryrun/analysis/peak.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace vramwise {
namespace {

constexpr std::size_t kLargest = 10;

struct Change {
  std::int64_t event = 0;
  std::int64_t time_us = 0;
  std::int64_t bytes = 0;  ///< negative: released
  MemoryOwner owner = MemoryOwner::kOther;
};

std::vector<Change> changes_of(const DeviceHistory& history, const std::vector<OwnedBlock>& owned) {
  std::vector<Change> changes;
  for (std::size_t i = 0; i < history.blocks.size(); ++i) {
    const HistoryBlock& block = history.blocks[i];
    changes.push_back(
        {.event = block.first_event, .time_us = block.begin_us, .bytes = block.bytes, .owner = owned[i].owner});
    if (block.end_us != HistoryBlock::kForever)
      changes.push_back(
          {.event = block.last_event, .time_us = block.end_us, .bytes = -block.bytes, .owner = owned[i].owner});
  }
  std::stable_sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.event < b.event; });
  return changes;
}

/// "layers.11.mlp" → "layers.*.mlp"
std::string without_numbers(const std::string& name) {
  std::string result;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit) {
      result += c;
    } else if (result.empty() || result.back() != '*') {
      result += '*';
    }
  }
  return result;
}

std::string name_of(const HistoryBlock& block, const OwnedBlock& owned, const ObservedRun& run) {
  if (owned.tensor >= 0) return run.tensors[static_cast<std::size_t>(owned.tensor)].name;
  const std::int64_t module = run.module_at(block.begin_us);
  return module < 0 || module >= static_cast<std::int64_t>(run.modules.size())
             ? std::string()
             : run.modules[static_cast<std::size_t>(module)];
}

std::vector<PeakTensors> largest_at(std::int64_t event, const DeviceHistory& history,
                                    const std::vector<OwnedBlock>& owned, const MemoryHistory& all,
                                    const ObservedRun& run) {
  using Key = std::tuple<MemoryOwner, std::int64_t, std::string, std::uint32_t>;
  std::map<Key, PeakTensors> groups;
  for (std::size_t i = 0; i < history.blocks.size(); ++i) {
    const HistoryBlock& block = history.blocks[i];
    if (block.first_event > event || block.last_event <= event) continue;
    std::string name = name_of(block, owned[i], run);
    // Where weights were asked for says little: the line that moves the whole model.
    const std::uint32_t place = owned[i].tensor >= 0 ? 0 : block.place;
    PeakTensors& group = groups[{owned[i].owner, block.bytes, without_numbers(name), place}];
    if (group.count++ == 0) {
      group.owner = owned[i].owner;
      group.each = Bytes(block.bytes);
      group.line = all.places[block.place].line;
      group.user_line = all.places[block.place].user_line;
      group.name = std::move(name);
    } else {
      group.name = without_numbers(name);
    }
  }
  std::vector<PeakTensors> largest;
  largest.reserve(groups.size());
  for (auto& [unused, group] : groups) largest.push_back(std::move(group));
  std::stable_sort(largest.begin(), largest.end(),
                   [](const PeakTensors& a, const PeakTensors& b) { return a.each * a.count > b.each * b.count; });
  if (largest.size() > kLargest) largest.resize(kLargest);
  return largest;
}

std::int64_t sum_of(const BytesByOwner& by_owner) {
  return std::accumulate(by_owner.begin(), by_owner.end(), std::int64_t{0});
}

std::vector<TimelinePoint> timeline_of(const std::vector<Change>& changes, const ObservedRun& run, std::size_t points) {
  std::vector<TimelinePoint> timeline;
  const std::size_t piece = std::max<std::size_t>(1, (changes.size() + points - 1) / std::max<std::size_t>(points, 1));
  BytesByOwner now = {};
  TimelinePoint most;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    now[static_cast<std::size_t>(changes[i].owner)] += changes[i].bytes;
    if (i % piece == 0 || sum_of(now) > sum_of(most.by_owner)) {
      most.time_us = changes[i].time_us;
      most.by_owner = now;
    }
    if (i % piece == piece - 1 || i + 1 == changes.size()) {
      if (const PhaseStretch* stretch = run.stretch_at(most.time_us)) {
        most.phase = stretch->name;
        most.step = stretch->step;
      }
      timeline.push_back(std::exchange(most, {}));
    }
  }
  return timeline;
}

}  // namespace

DeviceWay follow_device(const DeviceHistory& history, const std::vector<OwnedBlock>& owned, const MemoryHistory& all,
                        const ObservedRun& run, std::size_t points) {
  const std::vector<Change> changes = changes_of(history, owned);
  DeviceWay way;
  BytesByOwner now = {};
  std::int64_t sum = 0, best = -1, peak_event = 0, peak_time = 0;
  for (const Change& change : changes) {
    now[static_cast<std::size_t>(change.owner)] += change.bytes;
    sum += change.bytes;
    if (sum <= best) continue;
    best = sum;
    peak_event = change.event;
    peak_time = change.time_us;
    way.peak.by_owner = now;
  }
  way.peak.allocated = Bytes(std::max<std::int64_t>(best, 0));
  way.peak.largest = largest_at(peak_event, history, owned, all, run);
  if (const PhaseStretch* stretch = run.stretch_at(peak_time)) {
    way.peak.phase = stretch->name;
    way.peak.step = stretch->step;
  }
  way.peak.history_is_whole = history.blocks.empty() || history.blocks.front().begin_us > 0;
  way.timeline = timeline_of(changes, run, points);
  return way;
}

}  // namespace vramwise
