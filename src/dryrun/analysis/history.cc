// Allocated memory, as PyTorch counts it, falls when a release is asked for ("free_requested"), not when other streams
// have let go of the block ("free_completed"). Actions and keys: torch/cuda/memory.py, _snapshot (2.4 to 2.14).
#include "dryrun/analysis/history.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/json.h"

namespace vramwise {
namespace {

constexpr std::int64_t kGranule = 512;  // CUDACachingAllocator.cpp, kMinBlockSize

std::int64_t rounded(std::int64_t bytes) {
  return (std::max<std::int64_t>(bytes, 1) + kGranule - 1) / kGranule * kGranule;
}

bool is_of_torch(std::string_view file) {
  // Also what torch.compile generates, in its own cache or in the run's folder.
  for (const char* part : {"/torch/", "/vramwise_hook/", "/torchinductor", "/vramwise-dryrun."}) {
    if (file.find(part) != std::string_view::npos) return true;
  }
  return !file.ends_with(".py");  // none, "<string>", or a frame of C++, where the program asked for those too
}

bool is_installed(std::string_view file) {
  return is_of_torch(file) || file.find("-packages/") != std::string_view::npos ||
         file.find("/lib/python3") != std::string_view::npos;
}

/// The last two parts of a path: enough to know the file.
std::string short_path(std::string_view file) {
  const std::size_t last = file.rfind('/');
  const std::size_t before = last == std::string_view::npos || last == 0 ? last : file.rfind('/', last - 1);
  return std::string(before == std::string_view::npos ? file : file.substr(before + 1));
}

std::string line_text(std::string_view file, std::int64_t line) {
  const std::string name = is_installed(file) ? short_path(file) : std::string(file.substr(file.rfind('/') + 1));
  return name + ":" + std::to_string(line);
}

bool is_of_data_parallelism(std::string_view file) {
  for (const char* part : {"/fsdp/", "nn/parallel/distributed", "/_composable/"}) {
    if (file.find(part) != std::string_view::npos) return true;
  }
  return false;
}

SourcePlace place_of(const PlainValue& frames) {
  SourcePlace place;
  bool in_module = false;  // that data parallelism calls: what it takes is its own
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const PlainValue frame = frames.item(i);
    const std::string_view file = frame.text_of("filename").value_or("");
    if (file.find("torch/utils/checkpoint") != std::string_view::npos) place.recomputes = true;
    if (!in_module && is_of_data_parallelism(file)) place.communicates = true;
    in_module = in_module || !is_of_torch(file) || file.find("torch/nn/modules/") != std::string_view::npos;
    const std::int64_t line = frame.integer_of("line").value_or(0);
    if (place.line.empty() && !is_of_torch(file)) {
      place.line = line_text(file, line);
      place.function = std::string(frame.text_of("name").value_or(""));
    }
    if (place.user_line.empty() && !is_installed(file)) place.user_line = line_text(file, line);
  }
  return place;
}

class Reader {
 public:
  explicit Reader(MemoryHistory& history) : history_(history) { history_.places.emplace_back(); }

  void read_device(const PlainValue& trace) {
    DeviceHistory device;
    open_.clear();
    for (std::size_t i = 0; i < trace.size(); ++i) read_event(device, trace.item(i));
    device.events = event_;
    event_ = 0;
    history_.devices.push_back(std::move(device));
  }

  /// Blocks that live at the end and whose allocation is not in the history.
  void add_older_blocks(const PlainValue& segments) {
    std::unordered_map<std::int64_t, bool> known;
    for (const DeviceHistory& device : history_.devices) {
      for (const HistoryBlock& block : device.blocks) {
        if (block.end_us == HistoryBlock::kForever) known[block.address] = true;
      }
    }
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const PlainValue segment = segments.item(i);
      const auto device = static_cast<std::size_t>(segment.integer_of("device").value_or(0));
      const auto blocks = segment.find("blocks");
      if (device >= history_.devices.size() || !blocks) continue;
      for (std::size_t k = 0; k < blocks->size(); ++k) {
        const PlainValue block = blocks->item(k);
        const std::int64_t address = block.integer_of("address").value_or(0);
        if (block.text_of("state") != "active_allocated" || known.contains(address)) continue;
        HistoryBlock older;
        older.address = address;
        older.bytes = block.integer_of("size").value_or(0);
        if (const auto frames = block.find("frames")) older.place = place_number(*frames);
        auto& list = history_.devices[device].blocks;
        list.insert(list.begin(), older);
      }
    }
  }

 private:
  void read_event(DeviceHistory& device, const PlainValue& event) {
    const std::string_view action = event.text_of("action").value_or("");
    const std::int64_t address = event.integer_of("addr").value_or(0);
    const std::int64_t time = event.integer_of("time_us").value_or(0);
    if (action == "alloc") {
      HistoryBlock block;
      block.address = address;
      block.bytes = rounded(event.integer_of("size").value_or(0));
      block.begin_us = time;
      block.first_event = event_;
      if (const auto frames = event.find("frames")) block.place = place_number(*frames);
      open_[address] = device.blocks.size();
      device.blocks.push_back(block);
    } else if (action == "free_requested") {
      const auto found = open_.find(address);
      if (found != open_.end()) {
        HistoryBlock& block = device.blocks[found->second];
        block.end_us = time;
        block.last_event = event_;
        open_.erase(found);
      } else {
        HistoryBlock block;
        block.address = address;
        block.bytes = rounded(event.integer_of("size").value_or(0));
        block.end_us = time;
        block.last_event = event_;
        older_.push_back(block);
      }
    }
    ++event_;
    if (!older_.empty()) {
      for (auto& [unused, index] : open_) index += older_.size();
      device.blocks.insert(device.blocks.begin(), older_.begin(), older_.end());
      older_.clear();
    }
  }

  /// The same list of frames, and different ones that name the same place, have one number.
  std::uint32_t place_number(const PlainValue& frames) {
    const auto [known, is_new] = by_list_.try_emplace(frames.index(), 0);
    if (!is_new) return known->second;
    SourcePlace place = place_of(frames);
    const std::string key = place.line + '\n' + place.user_line + '\n' + place.function +
                            (place.recomputes ? "\n1" : "\n0") + (place.communicates ? "1" : "0");
    const auto [same, is_new_place] = by_text_.try_emplace(key, static_cast<std::uint32_t>(history_.places.size()));
    if (is_new_place) history_.places.push_back(std::move(place));
    known->second = same->second;
    return same->second;
  }

  MemoryHistory& history_;
  std::int64_t event_ = 0;
  std::unordered_map<std::int64_t, std::size_t> open_;
  std::vector<HistoryBlock> older_;
  std::unordered_map<PlainData::Index, std::uint32_t> by_list_;
  std::unordered_map<std::string, std::uint32_t> by_text_;
};

/// "calls": time, module, time, module, …
Status read_calls(const Json& json, std::vector<ModuleCall>& calls) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto flat, json_get<std::vector<std::int64_t>>(json, "calls"));
  for (std::size_t i = 0; i + 1 < flat.size(); i += 2) calls.push_back({.time_us = flat[i], .module = flat[i + 1]});
  return Done{};
}

/// The thread's whose cards these are, else the program's.
Result<Json> training_on(const Json& json, std::int64_t device) {
  for (const Json& thread : json.value("threads", Json::array())) {
    VRAMWISE_ASSIGN_OR_RETURN(const auto devices, json_get<std::vector<std::int64_t>>(thread, "devices"));
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) return thread;
  }
  return json;
}

}  // namespace

Result<MemoryHistory> read_memory_history(const PlainData& snapshot) {
  const auto traces = snapshot.root().find("device_traces");
  const auto segments = snapshot.root().find("segments");
  if (!traces || !traces->is_list() || !segments || !segments->is_list())
    return world_error("PyTorch's memory history is not of the expected form");
  MemoryHistory history;
  Reader reader(history);
  for (std::size_t i = 0; i < traces->size(); ++i) reader.read_device(traces->item(i));
  reader.add_older_blocks(*segments);
  return history;
}

const PhaseStretch* ObservedRun::stretch_at(std::int64_t time_us) const {
  const auto after = std::upper_bound(stretches.begin(), stretches.end(), time_us,
                                      [](std::int64_t time, const PhaseStretch& s) { return time < s.begin_us; });
  if (after == stretches.begin()) return nullptr;
  const PhaseStretch& stretch = *std::prev(after);
  return time_us <= stretch.end_us ? &stretch : nullptr;
}

std::int64_t ObservedRun::module_at(std::int64_t time_us) const {
  const auto after = std::upper_bound(calls.begin(), calls.end(), time_us,
                                      [](std::int64_t time, const ModuleCall& c) { return time < c.time_us; });
  return after == calls.begin() ? -1 : std::prev(after)->module;
}

Result<ObservedRun> read_observed_run(const Json& json, std::int64_t device) {
  ObservedRun run;
  VRAMWISE_ASSIGN_OR_RETURN(run.modules, json_get<std::vector<std::string>>(json, "modules"));
  VRAMWISE_ASSIGN_OR_RETURN(const Json training, training_on(json, device));
  VRAMWISE_RETURN_IF_ERROR(read_calls(training, run.calls));
  try {
    for (const Json& row : training.at("stretches")) {
      run.stretches.push_back({.name = row.at(0).get<std::string>(),
                               .step = row.at(1).get<std::int64_t>(),
                               .begin_us = row.at(2).get<std::int64_t>(),
                               .end_us = row.at(3).get<std::int64_t>()});
    }
    for (const Json& row : json.at("tensors")) {
      run.tensors.push_back({.device = row.at(0).get<std::int64_t>(),
                             .address = row.at(1).get<std::int64_t>(),
                             .bytes = row.at(2).get<std::int64_t>(),
                             .kind = row.at(3).get<std::string>(),
                             .name = row.at(4).get<std::string>(),
                             .seen_us = row.at(5).get<std::int64_t>()});
    }
  } catch (const nlohmann::json::exception& error) {
    return world_error(std::string("what was seen of the program can't be read: ") + error.what());
  }
  return run;
}

}  // namespace vramwise
