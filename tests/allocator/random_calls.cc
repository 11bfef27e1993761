// Chapters change what is likely, so that both fragmented and orderly states come up, and stay for a while.
#include "random_calls.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace vramwise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr unsigned kSizeKinds = 8;

}  // namespace

RandomCalls::RandomCalls(std::uint64_t seed, std::int64_t capacity, int streams)
    : random_(seed), capacity_(capacity), streams_(streams) {}

std::int64_t RandomCalls::log_uniform(std::int64_t low, std::int64_t high) {
  const double position = static_cast<double>(below(1 << 30)) / (1 << 30);
  return static_cast<std::int64_t>(static_cast<double>(low) *
                                   std::pow(static_cast<double>(high) / static_cast<double>(low), position));
}

std::int64_t RandomCalls::size_of_kind(unsigned kind) {
  static constexpr std::array<std::int64_t, 14> kThresholds = {512,          1024,      4096,      kMiB / 2,  kMiB,
                                                               3 * kMiB / 2, 2 * kMiB,  10 * kMiB, 20 * kMiB, 21 * kMiB,
                                                               32 * kMiB,    40 * kMiB, 64 * kMiB, 128 * kMiB};
  static constexpr std::array<std::int64_t, 7> kSteps = {-513, -512, -1, 0, 1, 512, 513};
  switch (kind) {
    case 0:
      return 1 + static_cast<std::int64_t>(below(4096));
    case 1:
      return std::max<std::int64_t>(1, kThresholds[below(kThresholds.size())] + kSteps[below(kSteps.size())]);
    case 2:
      return log_uniform(1, kMiB / 16);
    case 3:
      return log_uniform(kMiB / 16, kMiB + 4096);
    case 4:
      return log_uniform(kMiB, 10 * kMiB + 4096);
    case 5:
      return log_uniform(10 * kMiB, 64 * kMiB);
    case 6:
      return log_uniform(20 * kMiB, std::max(chapter_.largest, 21 * kMiB));
    default:
      return chapter_.repeated[below(chapter_.repeated.size())];
  }
}

std::int64_t RandomCalls::size() {
  unsigned kind = static_cast<unsigned>(below(kSizeKinds));
  while ((chapter_.size_kinds >> kind & 1U) == 0) kind = (kind + 1) % kSizeKinds;
  return size_of_kind(kind);
}

void RandomCalls::start_chapter() {
  chapter_.calls_left = 100 + static_cast<int>(below(900));
  chapter_.order = static_cast<int>(below(3));
  chapter_.growth = 0.55 + 0.01 * static_cast<double>(below(40));
  chapter_.target = capacity_ / 100 * static_cast<std::int64_t>(5 + below(110));
  chapter_.largest = capacity_ / static_cast<std::int64_t>(4 + below(30));
  chapter_.size_kinds = static_cast<unsigned>(1 + below((1U << kSizeKinds) - 1));
  chapter_.streams = 1 + static_cast<int>(below(static_cast<std::uint64_t>(streams_)));
  chapter_.record_per_mille = below(2) == 0 ? 0 : static_cast<int>(below(200));
  chapter_.empty_per_mille = below(3) == 0 ? static_cast<int>(below(10)) : 0;
  if (std::exchange(first_, false)) {
    // Whatever the seed, tight memory runs out once.
    chapter_.growth = 0.95;
    chapter_.target = capacity_ / 4 * 5;
    chapter_.size_kinds = (1U << kSizeKinds) - 1;
  }
  chapter_.repeated.clear();
  const std::uint64_t repeated = 1 + below(12);
  for (std::uint64_t i = 0; i < repeated; ++i)
    chapter_.repeated.push_back(size_of_kind(static_cast<unsigned>(below(kSizeKinds - 1))));
}

Call RandomCalls::next(std::size_t live_count, std::int64_t live_bytes) {
  if (chapter_.calls_left-- <= 0) start_chapter();
  if (per_mille(chapter_.empty_per_mille)) return {.kind = Call::Kind::kEmptyCache};
  const auto stream = static_cast<int>(below(static_cast<std::uint64_t>(chapter_.streams)));
  if (live_count > 0 && per_mille(chapter_.record_per_mille))
    return {.kind = Call::Kind::kRecordStream, .stream = stream, .place = below(live_count)};
  const double chance = live_bytes < chapter_.target ? chapter_.growth : 0.3;
  const bool grow = live_count == 0 || (live_count < 4000 && static_cast<double>(below(1000)) < 1000 * chance);
  if (grow) return {.kind = Call::Kind::kAllocate, .bytes = size(), .stream = stream};
  const std::size_t place = chapter_.order == 0 ? live_count - 1 : chapter_.order == 1 ? 0 : below(live_count);
  return {.kind = Call::Kind::kFree, .place = place};
}

}  // namespace vramwise
