// The keys are those of torch/cuda/memory.py (_snapshot) and of torch/csrc/cuda/memory_snapshot.cpp in PyTorch 2.14;
// older versions lack some of them. Stacks are shared in the file (thousands of entries, a few hundred stacks), so each
// is read once, by its place in the file.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "allocator/snapshot.h"
#include "base/pickle.h"

namespace vramwise {
namespace {

constexpr std::int64_t kLargestBytes = std::int64_t{1} << 46;  // 64 TiB: no card, but no overflow either
constexpr std::size_t kMostDevices = 256;
constexpr std::size_t kMostFrames = 512;  // of one stack; more are cut off

class Reader {
 public:
  Reader(const PlainData& data, std::string where) : data_(data), where_(std::move(where)) {}

  Result<MemorySnapshot> run() {
    const PlainValue root = data_.root();
    // torch.cuda.memory_snapshot() is the bare list of segments.
    const auto segments = root.is_list() ? std::optional<PlainValue>(root) : root.find("segments");
    if (!segments || !segments->is_list())
      return failure("it is no memory snapshot: \"segments\" is missing",
                     "torch.cuda.memory._dump_snapshot() writes one");
    read_settings(root);
    for (std::size_t i = 0; i < segments->size(); ++i) VRAMWISE_RETURN_IF_ERROR(read_segment(segments->item(i)));
    if (const auto traces = root.find("device_traces")) VRAMWISE_RETURN_IF_ERROR(read_traces(*traces));
    return std::move(snapshot_);
  }

 private:
  Error failure(const std::string& what, const std::string& remedy = {}) const {
    return world_error(where_ + ": " + what, remedy);
  }

  /// A size in bytes, if it is one that can be.
  static std::optional<std::int64_t> size_of(const PlainValue& value, std::string_view key) {
    const auto size = value.integer_of(key);
    return size && *size >= 0 && *size <= kLargestBytes ? size : std::nullopt;
  }

  static bool in_private_pool(const PlainValue& value, std::string_view key) {
    const auto id = value.find(key);
    if (!id || id->size() != 2) return false;
    return id->item(0).integer().value_or(0) != 0 || id->item(1).integer().value_or(0) != 0;
  }

  void read_settings(const PlainValue& root) {
    const auto settings = root.find("allocator_settings");
    if (!settings) return;
    snapshot_.options_text = settings->text_of("PYTORCH_CUDA_ALLOC_CONF").value_or("");
    if (snapshot_.options_text.empty()) snapshot_.options_text = settings->text_of("PYTORCH_ALLOC_CONF").value_or("");
    auto options = parse_allocator_options(snapshot_.options_text);
    if (options.ok()) {
      snapshot_.options = *options;
    } else {
      snapshot_.notes.push_back(options.error().what);
    }
    if (const auto expandable = settings->boolean_of("expandable_segments"))
      snapshot_.options.expandable_segments = *expandable;
  }

  std::uint32_t frame(const PlainValue& value) {
    const auto [place, is_new] = frame_of_.try_emplace(value.index(), 0);
    if (!is_new) return place->second;
    const auto line = value.integer_of("line").value_or(0);
    FrameKey key(value.text_of("filename").value_or(""), line, value.text_of("name").value_or(""));
    const auto [known, is_another] = frame_of_text_.try_emplace(key, snapshot_.frames.size());
    if (is_another) {
      const auto& [file, number, function] = known->first;
      snapshot_.frames.push_back({.function = std::string(function), .file = std::string(file), .line = number});
    }
    return place->second = static_cast<std::uint32_t>(known->second);
  }

  StackIndex stack(const PlainValue& owner) {
    const auto frames = owner.find("frames");
    if (!frames || frames->size() == 0 || !frames->is_list()) return 0;
    const auto [place, is_new] = stack_of_.try_emplace(frames->index(), 0);
    if (!is_new) return place->second;
    std::vector<std::uint32_t> stack;
    for (std::size_t i = 0; i < std::min(frames->size(), kMostFrames); ++i) stack.push_back(frame(frames->item(i)));
    const auto [known, is_another] = stack_of_frames_.try_emplace(std::move(stack), snapshot_.stacks.size());
    if (is_another) snapshot_.stacks.push_back(known->first);
    return place->second = static_cast<StackIndex>(known->second);
  }

  Status read_segment(const PlainValue& value) {
    SnapshotSegment segment;
    const auto address = value.integer_of("address");
    const auto size = size_of(value, "total_size");
    segment.device = value.integer_of("device").value_or(0);
    if (!address || !size) return failure("a segment has no usable \"address\" or \"total_size\"");
    if (segment.device < 0 || segment.device >= static_cast<std::int64_t>(kMostDevices))
      return failure(fmt::format("a segment is on device {}", segment.device));
    total_ += *size;
    if (total_ > kLargestBytes) return failure("its segments are larger than any card");
    segment.address = *address;
    segment.size = *size;
    segment.stream = value.integer_of("stream").value_or(0);
    segment.is_small = value.text_of("segment_type") == "small";
    segment.is_expandable = value.boolean_of("is_expandable").value_or(false);
    segment.is_private = in_private_pool(value, "segment_pool_id");
    segment.stack = stack(value);
    const auto blocks = value.find("blocks");
    if (!blocks || !blocks->is_list()) return failure("a segment has no \"blocks\"");
    VRAMWISE_RETURN_IF_ERROR(read_blocks(*blocks, segment));
    snapshot_.segments.push_back(std::move(segment));
    return Done();
  }

  Status read_blocks(const PlainValue& list, SnapshotSegment& segment) {
    std::int64_t end = 0;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const PlainValue value = list.item(i);
      const auto size = size_of(value, "size");
      if (!size || *size > segment.size - end) return failure("the blocks of a segment are larger than the segment");
      const std::string_view state = value.text_of("state").value_or("");
      const bool allocated = state == "active_allocated";
      // PyTorch 1.x has "active" blocks in a list "history"; 2.0 and later do not.
      const bool pending = state == "active_pending_free" || state == "active_awaiting_free";
      segment.blocks.push_back({.address = static_cast<std::int64_t>(static_cast<std::uint64_t>(segment.address) +
                                                                     static_cast<std::uint64_t>(end)),
                                .size = *size,
                                .requested = size_of(value, "requested_size").value_or(*size),
                                .state = allocated ? SnapshotBlock::State::kAllocated
                                         : pending ? SnapshotBlock::State::kPendingFree
                                                   : SnapshotBlock::State::kFree,
                                .stack = stack(value)});
      end += *size;
    }
    return Done();
  }

  static TraceAction action_of(std::string_view name) {
    static const std::map<std::string_view, TraceAction> kActions = {{"alloc", TraceAction::kAllocate},
                                                                     {"free_requested", TraceAction::kFreeRequested},
                                                                     {"free_completed", TraceAction::kFreeCompleted},
                                                                     {"segment_alloc", TraceAction::kSegmentAllocate},
                                                                     {"segment_free", TraceAction::kSegmentFree},
                                                                     {"segment_map", TraceAction::kSegmentMap},
                                                                     {"segment_unmap", TraceAction::kSegmentUnmap},
                                                                     {"snapshot", TraceAction::kSnapshot},
                                                                     {"oom", TraceAction::kOutOfMemory}};
    const auto found = kActions.find(name);
    return found == kActions.end() ? TraceAction::kOther : found->second;
  }

  Status read_traces(const PlainValue& list) {
    if (!list.is_list() || list.size() > kMostDevices)
      return failure("\"device_traces\" is not a list of some devices");
    for (std::size_t device = 0; device < list.size(); ++device) {
      snapshot_.traces.emplace_back();
      const PlainValue entries = list.item(device);
      for (std::size_t i = 0; i < entries.size(); ++i) VRAMWISE_RETURN_IF_ERROR(read_entry(entries.item(i)));
    }
    return Done();
  }

  Status read_entry(const PlainValue& value) {
    const auto action = value.text_of("action");
    if (!action) return failure("an entry of \"device_traces\" has no \"action\"");
    TraceEntry entry = {.action = action_of(*action),
                        .stream = value.integer_of("stream").value_or(0),
                        .time_us = value.integer_of("time_us").value_or(0),
                        .stack = stack(value),
                        .is_private = in_private_pool(value, "pool_id")};
    const auto address = value.integer_of(entry.action == TraceAction::kOutOfMemory ? "device_free" : "addr");
    const auto size = size_of(value, "size");
    const bool needed = entry.action != TraceAction::kSnapshot && entry.action != TraceAction::kOther;
    if (needed && (!address || !size))
      return failure(fmt::format("an entry \"{}\" of \"device_traces\" has no usable address or size", *action));
    entry.address = address.value_or(0);
    entry.size = size.value_or(0);
    snapshot_.traces.back().push_back(entry);
    return Done();
  }

  const PlainData& data_;
  std::string where_;
  MemorySnapshot snapshot_;
  std::int64_t total_ = 0;  ///< of all segments
  // By place in the file, then by what it says: JSON repeats it all.
  using FrameKey = std::tuple<std::string_view, std::int64_t, std::string_view>;
  std::unordered_map<PlainData::Index, std::uint32_t> frame_of_;
  std::map<FrameKey, std::size_t> frame_of_text_;
  std::unordered_map<PlainData::Index, StackIndex> stack_of_;
  std::map<std::vector<std::uint32_t>, std::size_t> stack_of_frames_;
};

}  // namespace

Result<MemorySnapshot> read_snapshot(std::string_view bytes, const std::string& where) {
  const std::size_t first = bytes.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && (bytes[first] == '{' || bytes[first] == '[');
  if (is_json) {
    VRAMWISE_ASSIGN_OR_RETURN(const PlainData data, parse_plain_json(bytes, where));
    return Reader(data, where).run();
  }
  Result<PlainData> data = parse_pickle(bytes);
  if (!data.ok())
    return world_error(where + ": " + data.error().what, "it takes a memory snapshot, a .pickle or .json");
  return Reader(*data, where).run();
}

}  // namespace vramwise
