// AllocationEvent: one call to the caching allocator, in 16 bytes. A training step is a flat list of them, in the order
// in which PyTorch makes the calls; replay.h runs such a list.
//
// Allocations are named by small dense numbers (`id`), so that a replay finds their blocks by index. An id may be used
// again once its allocation was freed. What an allocation is for (weights, activations, which layer) is not here: keep
// that beside the list, by id.
#pragma once

#include <cstdint>
#include <vector>

namespace vramwise {

/// A CUDA stream. 0 is the default stream; the others are numbered in the order in which they were first used.
using StreamIndex = std::uint16_t;

/// Of a live allocation.
using AllocationId = std::uint32_t;

enum class EventKind : std::uint8_t {
  kAllocate,      ///< `bytes` as asked for, before any rounding; 0 bytes take nothing and need no free
  kFree,          ///< the allocation `id`
  kRecordStream,  ///< `Tensor.record_stream`: the allocation `id` is also used by `stream`
  kEmptyCache,    ///< `torch.cuda.empty_cache()`
  kOutside,       ///< `bytes` of the card taken (given back, if negative) past the allocator: NCCL, a library's handle
  kFreeLater,     ///< the allocation `id`, whose memory other streams use until its kFreeDone (as a trace tells it)
  kFreeDone,      ///< the allocation that kFreeLater freed under this `id`; until then the id is not used again
  kMark,          ///< allocates nothing: a phase begins, whose number is `id` (replays tell the peak of each phase)
};

struct AllocationEvent {
  std::int64_t bytes = 0;  ///< kAllocate, kOutside
  AllocationId id = 0;     ///< of an allocation; the number of a kMark
  StreamIndex stream = 0;  ///< kAllocate, kRecordStream
  EventKind kind = EventKind::kAllocate;
  std::uint8_t unused = 0;

  static constexpr AllocationEvent allocate(AllocationId id, std::int64_t bytes, StreamIndex stream = 0) {
    return {.bytes = bytes, .id = id, .stream = stream, .kind = EventKind::kAllocate};
  }
  static constexpr AllocationEvent free(AllocationId id) { return {.id = id, .kind = EventKind::kFree}; }
  static constexpr AllocationEvent record_stream(AllocationId id, StreamIndex stream) {
    return {.id = id, .stream = stream, .kind = EventKind::kRecordStream};
  }
  static constexpr AllocationEvent free_later(AllocationId id) { return {.id = id, .kind = EventKind::kFreeLater}; }
  static constexpr AllocationEvent free_done(AllocationId id) { return {.id = id, .kind = EventKind::kFreeDone}; }
  static constexpr AllocationEvent empty_cache() { return {.kind = EventKind::kEmptyCache}; }
  static constexpr AllocationEvent outside(std::int64_t bytes) { return {.bytes = bytes, .kind = EventKind::kOutside}; }
  static constexpr AllocationEvent mark(std::uint32_t number) { return {.id = number, .kind = EventKind::kMark}; }
};
static_assert(sizeof(AllocationEvent) == 16);

using EventList = std::vector<AllocationEvent>;

}  // namespace vramwise
