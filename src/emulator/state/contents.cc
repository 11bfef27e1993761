// Whether a copy is done depends on its size, its direction, and whether its source was ever written; see
// docs/emulator.md for the limits.
#include "emulator/state/contents.h"

#include <cstring>
#include <vector>

namespace vramwise::emulator {
namespace {

/// Always done, whatever the budget: the smallest things are those that programs look at.
constexpr Bytes kAlways = Bytes::kib(64);
/// Larger copies between cards or within one are activations and weights; nothing looks at them.
constexpr Bytes kLargestOnDevice = Bytes::mib(4);
/// Larger copies from the card are checkpoints of skipped arithmetic; to read them would fault in zeros for nothing.
constexpr Bytes kLargestRead = Bytes::mib(64);

std::uintptr_t address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }
std::size_t length(Bytes size) { return static_cast<std::size_t>(size.count()); }

}  // namespace

void Contents::count_skipped(Bytes size) {
  ++counts_.skipped_copies;
  counts_.skipped_bytes += size;
}

/// What lay there before is overwritten on a real card.
void Contents::skip(Region& target, void* to, Bytes size) {
  count_skipped(size);
  space_.forget(target, address(to), size);
}

void Contents::copy(void* to, const void* from, Bytes size) {
  if (size <= Bytes(0) || to == from) return;
  ++counts_.copies;
  Region* target = space_.find(address(to));
  Region* source = space_.find(address(from));
  if (target != nullptr && !target->on_device()) target = nullptr;
  if (source != nullptr && !source->on_device()) source = nullptr;
  if (target != nullptr && source != nullptr) return on_device(*target, *source, to, from, size);
  if (target != nullptr) return to_device(*target, to, from, size);
  if (source != nullptr) return to_host(*source, to, from, size);
  std::memmove(to, from, length(size));
}

void Contents::to_device(Region& target, void* to, const void* from, Bytes size) {
  if (!space_.mark_written(target, address(to), size, size <= kAlways)) return skip(target, to, size);
  std::memcpy(to, from, length(size));
}

void Contents::to_host(const Region& source, void* to, const void* from, Bytes size) {
  ++counts_.reads_by_host;
  if (size > kLargestRead) return count_skipped(size);
  space_.read(source, address(from), size, to);
}

void Contents::on_device(Region& target, const Region& source, void* to, const void* from, Bytes size) {
  const auto holds = [&](ChunkState state) { return space_.any_chunk(source, address(from), size, {state}); };
  if (!holds(ChunkState::kWritten)) {
    if (space_.fill() == 0 || !holds(ChunkState::kUnknown)) return space_.zero(target, address(to), size);
    if (!holds(ChunkState::kZero)) return space_.forget(target, address(to), size);
  }
  if (size > kLargestOnDevice || !space_.mark_written(target, address(to), size, size <= kAlways))
    return skip(target, to, size);
  // The places may overlap, and `read` goes piece by piece.
  std::vector<unsigned char> between(length(size));
  space_.read(source, address(from), size, between.data());
  std::memcpy(to, between.data(), length(size));
}

void Contents::fill(void* to, std::uint32_t pattern, int pattern_bytes, std::int64_t count) {
  const Bytes size = Bytes(count) * pattern_bytes;
  if (size <= Bytes(0)) return;
  Region* target = space_.find(address(to));
  if (target != nullptr && target->on_device()) {
    if (pattern == 0) return space_.zero(*target, address(to), size);
    if (!space_.mark_written(*target, address(to), size, size <= kAlways)) return skip(*target, to, size);
  }
  auto* bytes = static_cast<unsigned char*>(to);
  if (pattern_bytes == 1) {
    std::memset(bytes, static_cast<int>(pattern), length(size));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(bytes + i * pattern_bytes, &pattern, static_cast<std::size_t>(pattern_bytes));  // little-endian
  }
}

}  // namespace vramwise::emulator
