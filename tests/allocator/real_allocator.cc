// c10::DeviceAllocator has allocate, emptyCache and the counters; the segments come from the pickle that
// torch::cuda::_memory_snapshot_pickled writes, read by our own reader.
#include "real_allocator.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <torch/csrc/cuda/memory_snapshot.h>

#include <cstdio>
#include <cstdlib>
#include <unordered_map>

#include "base/pickle.h"

namespace vramwise {
namespace {

AllocatorStat converted(const c10::CachingAllocator::Stat& stat) {
  return {.current = stat.current, .peak = stat.peak};
}
AllocatorStat converted(const c10::CachingAllocator::StatArray& stats) {
  return converted(stats[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)]);
}

/// PyTorch warns at every full card, thousands of times here.
class QuietWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};
QuietWarnings quiet_warnings;

/// What must be there in a snapshot; its absence is a change of PyTorch's format.
template <typename T>
T must(std::optional<T> value, const char* what) {
  if (value) return *value;
  std::fprintf(stderr, "PyTorch's snapshot has no usable \"%s\"\n", what);
  std::exit(4);
}

}  // namespace

struct RealAllocator::State {
  c10::Device device{c10::DeviceType::CUDA, 0};
  c10::impl::VirtualGuardImpl guard{c10::DeviceType::CUDA};
  c10::DeviceAllocator* allocator = nullptr;
  std::vector<c10::Stream> streams;
  std::unordered_map<std::int64_t, int> stream_of_handle;
  std::unordered_map<std::int64_t, at::DataPtr> live;
};

RealAllocator::RealAllocator(int device, int streams) : state_(std::make_unique<State>()) {
  c10::WarningUtils::set_warning_handler(&quiet_warnings);
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  State& state = *state_;
  state.device = c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
  state.allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
  state.guard.setDevice(state.device);
  state.streams.push_back(state.guard.getDefaultStream(state.device));
  while (static_cast<int>(state.streams.size()) < streams)
    state.streams.push_back(state.guard.getStreamFromGlobalPool(state.device));
  for (std::size_t i = 0; i < state.streams.size(); ++i) {
    const void* handle = state.guard.getStreamNativeHandle(state.streams[i]);
    state.stream_of_handle[reinterpret_cast<std::int64_t>(handle)] = static_cast<int>(i);
  }
}

RealAllocator::~RealAllocator() = default;

int RealAllocator::device_count() {
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).deviceCount();
}

DeviceMemoryLimits RealAllocator::limits() const {
  const auto [free, total] = state_->allocator->getMemoryInfo(state_->device.index());
  return {.total_bytes = static_cast<std::int64_t>(total), .taken_bytes = static_cast<std::int64_t>(total - free)};
}

std::int64_t RealAllocator::allocate(std::int64_t bytes, int stream) {
  state_->guard.setDevice(state_->device);
  state_->guard.exchangeStream(state_->streams[static_cast<std::size_t>(stream)]);
  try {
    at::DataPtr pointer = state_->allocator->allocate(static_cast<std::size_t>(bytes));
    const auto address = reinterpret_cast<std::int64_t>(pointer.get());
    state_->live.emplace(address, std::move(pointer));
    return address;
  } catch (const c10::OutOfMemoryError&) {
    return 0;
  }
}

void RealAllocator::free(std::int64_t address) { state_->live.erase(address); }

void RealAllocator::record_stream(std::int64_t address, int stream) {
  state_->allocator->recordStream(state_->live.at(address), state_->streams[static_cast<std::size_t>(stream)]);
}

void RealAllocator::empty_cache() { state_->allocator->emptyCache(); }

AllocatorStats RealAllocator::stats() const {
  const auto stats = state_->allocator->getDeviceStats(state_->device.index());
  return {.allocated_bytes = converted(stats.allocated_bytes),
          .reserved_bytes = converted(stats.reserved_bytes),
          .active_bytes = converted(stats.active_bytes),
          .inactive_split_bytes = converted(stats.inactive_split_bytes),
          .requested_bytes = converted(stats.requested_bytes),
          .allocation = converted(stats.allocation),
          .segment = converted(stats.segment),
          .active = converted(stats.active),
          .inactive_split = converted(stats.inactive_split),
          .oversize_allocations = converted(stats.oversize_allocations),
          .oversize_segments = converted(stats.oversize_segments),
          .num_alloc_retries = stats.num_alloc_retries,
          .num_ooms = stats.num_ooms,
          .num_sync_all_streams = stats.num_sync_all_streams,
          .num_device_alloc = stats.num_device_alloc,
          .num_device_free = stats.num_device_free};
}

std::vector<SegmentState> RealAllocator::segments() const {
  const std::string pickled = torch::cuda::_memory_snapshot_pickled();
  const auto data = parse_pickle(pickled);
  if (!data.ok()) {
    std::fprintf(stderr, "%s\n", data.error().what.c_str());
    std::exit(4);
  }
  std::vector<SegmentState> result;
  const PlainValue list = must(data->root().find("segments"), "segments");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const PlainValue segment = list.item(i);
    if (segment.integer_of("device") != state_->device.index()) continue;
    SegmentState& state = result.emplace_back();
    state.address = must(segment.integer_of("address"), "address");
    state.size = must(segment.integer_of("total_size"), "total_size");
    state.stream = static_cast<StreamIndex>(state_->stream_of_handle.at(must(segment.integer_of("stream"), "stream")));
    state.is_small = must(segment.text_of("segment_type"), "segment_type") == "small";
    state.is_expandable = must(segment.boolean_of("is_expandable"), "is_expandable");
    const PlainValue blocks = must(segment.find("blocks"), "blocks");
    for (std::size_t j = 0; j < blocks.size(); ++j) {
      const PlainValue block = blocks.item(j);
      const auto block_state = must(block.text_of("state"), "state");
      // What an inactive block says of itself hangs on the order in which its parts were merged.
      const std::int64_t requested = must(block.integer_of("requested_size"), "requested_size");
      state.parts.push_back({.size = must(block.integer_of("size"), "size"),
                             .requested = block_state == "inactive" ? 0 : requested,
                             .allocated = block_state == "active_allocated",
                             .active = block_state != "inactive"});
    }
  }
  return result;
}

}  // namespace vramwise
