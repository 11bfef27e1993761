// allocator_equality: the model of the caching allocator against PyTorch's own, call by call, on the emulated device.
//
//   PYTORCH_ALLOC_CONF=expandable_segments:True allocator_equality --calls 100000 --seed 7
//
// Both get the same random calls on every card. After each, the address and all counters must be equal; every so many
// calls, and at the end, so must the list of segments. Prints one JSON line; exit 1 at the first difference.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "base/json.h"
#include "random_calls.h"
#include "real_allocator.h"

namespace vramwise {
namespace {

constexpr int kStreams = 4;

struct Settings {
  std::int64_t calls = 3000;
  std::uint64_t seed = 1;
  std::int64_t segments_every = 100;  ///< calls between two comparisons of the segments
};

struct NamedStat {
  const char* name = nullptr;
  AllocatorStat AllocatorStats::* stat = nullptr;
  bool with_peak = true;
};
// When several blocks that waited for other streams are released at once, PyTorch goes through a hash table of streams,
// and what is inactive rises and falls on the way: its peak depends on addresses of the program.
constexpr NamedStat kStats[] = {{"allocated_bytes", &AllocatorStats::allocated_bytes},
                                {"reserved_bytes", &AllocatorStats::reserved_bytes},
                                {"active_bytes", &AllocatorStats::active_bytes},
                                {"inactive_split_bytes", &AllocatorStats::inactive_split_bytes, false},
                                {"requested_bytes", &AllocatorStats::requested_bytes},
                                {"allocation", &AllocatorStats::allocation},
                                {"segment", &AllocatorStats::segment},
                                {"active", &AllocatorStats::active},
                                {"inactive_split", &AllocatorStats::inactive_split, false},
                                {"oversize_allocations", &AllocatorStats::oversize_allocations},
                                {"oversize_segments", &AllocatorStats::oversize_segments}};
struct NamedCount {
  const char* name;
  std::int64_t AllocatorStats::* count;
};
constexpr NamedCount kCounts[] = {{"num_alloc_retries", &AllocatorStats::num_alloc_retries},
                                  {"num_ooms", &AllocatorStats::num_ooms},
                                  {"num_sync_all_streams", &AllocatorStats::num_sync_all_streams},
                                  {"num_device_alloc", &AllocatorStats::num_device_alloc},
                                  {"num_device_free", &AllocatorStats::num_device_free}};

std::string difference(const AllocatorStats& real, const AllocatorStats& ours) {
  std::string text;
  for (const auto& [name, member, with_peak] : kStats) {
    const AllocatorStat a = real.*member;
    const AllocatorStat b = ours.*member;
    if (a.current != b.current || (with_peak && a.peak != b.peak))
      text += fmt::format("{}: PyTorch {} (peak {}), ours {} (peak {}); ", name, a.current, a.peak, b.current, b.peak);
  }
  for (const auto& [name, count] : kCounts)
    if (real.*count != ours.*count) text += fmt::format("{}: PyTorch {}, ours {}; ", name, real.*count, ours.*count);
  return text;
}

std::string described(const SegmentState& segment) {
  std::string text = fmt::format("0x{:x} {} stream {}{}{}:", segment.address, segment.size, segment.stream,
                                 segment.is_small ? " small" : "", segment.is_expandable ? " expandable" : "");
  for (const auto& part : segment.parts)
    text += fmt::format(" {}{}({})", part.allocated ? "+" : part.active ? "~" : "-", part.size, part.requested);
  return text;
}

std::string difference(const std::vector<SegmentState>& real, std::vector<SegmentState> ours, std::int64_t origin) {
  for (auto& segment : ours) {
    segment.address += origin;
    for (auto& part : segment.parts) part.block = kNoBlock;
  }
  if (real == ours) return {};
  std::string text = fmt::format("{} segments in PyTorch, {} in ours", real.size(), ours.size());
  for (std::size_t i = 0; i < std::min(real.size(), ours.size()); ++i)
    if (!(real[i] == ours[i])) return text + "\nPyTorch " + described(real[i]) + "\nours    " + described(ours[i]);
  return text;
}

class Comparison {
 public:
  Comparison(int card, const AllocatorOptions& options, const Settings& settings)
      : settings_(settings),
        real_(card, kStreams),
        limits_(real_.limits()),
        other_syncs_(real_.stats().num_sync_all_streams),
        ours_(options, DeviceMemory(limits_)),
        calls_(settings.seed + static_cast<std::uint64_t>(card) * 1000003, limits_.total_bytes - limits_.taken_bytes,
               kStreams) {}

  /// What differs, and where; nothing: all is equal.
  std::string run() {
    for (std::int64_t i = 0; i < settings_.calls; ++i) {
      const Call call = calls_.next(live_.size(), ours_.stats().allocated_bytes.current);
      std::string text = apply(call);
      text += difference(real_stats(), ours_.stats());
      if (text.empty() && i % settings_.segments_every == 0) text = compare_segments();
      if (!text.empty())
        return fmt::format("after call {} ({} {} bytes, stream {}, place {}): {}", i, static_cast<int>(call.kind),
                           call.bytes, call.stream, call.place, text);
    }
    return finish();
  }

  Json summary() const {
    const AllocatorStats& stats = ours_.stats();
    return {{"calls", settings_.calls},
            {"segment_lists", segment_lists_},
            {"most_segments", most_segments_},
            {"total_bytes", limits_.total_bytes},
            {"peak_allocated_bytes", stats.allocated_bytes.peak},
            {"peak_reserved_bytes", stats.reserved_bytes.peak},
            {"peak_inactive_split_bytes", stats.inactive_split_bytes.peak},
            {"retries", stats.num_alloc_retries},
            {"out_of_memory", stats.num_ooms},
            {"device_allocations", stats.num_device_alloc},
            {"device_frees", stats.num_device_free}};
  }

 private:
  struct Live {
    std::int64_t address = 0;
    BlockIndex block = kNoBlock;
  };

  std::string apply(const Call& call) {
    switch (call.kind) {
      case Call::Kind::kAllocate:
        return allocate(call);
      case Call::Kind::kFree:
        real_.free(live_[call.place].address);
        ours_.free(live_[call.place].block);
        live_[call.place] = live_.back();
        live_.pop_back();
        break;
      case Call::Kind::kRecordStream:
        real_.record_stream(live_[call.place].address, call.stream);
        ours_.record_stream(live_[call.place].block, static_cast<StreamIndex>(call.stream));
        break;
      case Call::Kind::kEmptyCache:
        real_.empty_cache();
        ours_.empty_cache();
        break;
    }
    return {};
  }

  std::string allocate(const Call& call) {
    const std::int64_t address = real_.allocate(call.bytes, call.stream);
    const BlockIndex block = ours_.allocate(call.bytes, static_cast<StreamIndex>(call.stream));
    if ((address == 0) != (block == kNoBlock))
      return fmt::format("PyTorch {}, ours {}", address == 0 ? "ran out of memory" : "got a block",
                         block == kNoBlock ? "ran out of memory" : "got a block");
    if (address == 0) return {};
    if (!origin_) origin_ = address - ours_.address_of(block);
    live_.push_back({.address = address, .block = block});
    if (address - *origin_ == ours_.address_of(block)) return {};
    return fmt::format("PyTorch's block is at 0x{:x}, ours at 0x{:x}; ", address - *origin_, ours_.address_of(block));
  }

  AllocatorStats real_stats() const {
    AllocatorStats stats = real_.stats();
    stats.num_sync_all_streams -= other_syncs_;
    return stats;
  }

  std::string compare_segments() {
    ++segment_lists_;
    const auto real = real_.segments();
    most_segments_ = std::max(most_segments_, real.size());
    return difference(real, ours_.segments(), origin_.value_or(0));
  }

  std::string finish() {
    std::string text = compare_segments();
    for (const Live& each : live_) {
      real_.free(each.address);
      ours_.free(each.block);
    }
    if (text.empty()) text = compare_segments();
    real_.empty_cache();
    ours_.empty_cache();
    if (text.empty()) text = difference(real_stats(), ours_.stats());
    if (text.empty()) text = compare_segments();
    return text.empty() ? text : "at the end: " + text;
  }

  Settings settings_;
  RealAllocator real_;
  DeviceMemoryLimits limits_;
  std::int64_t other_syncs_ = 0;  ///< PyTorch empties the caches of all cards at once
  CachingAllocator ours_;
  RandomCalls calls_;
  std::vector<Live> live_;
  std::optional<std::int64_t> origin_;  ///< PyTorch's address of what is at 0 in ours
  std::int64_t segment_lists_ = 0;
  std::size_t most_segments_ = 0;
};

AllocatorOptions options_of_environment() {
  const char* text = std::getenv("PYTORCH_CUDA_ALLOC_CONF");
  if (text == nullptr) text = std::getenv("PYTORCH_ALLOC_CONF");
  const auto options = parse_allocator_options(text == nullptr ? "" : text);
  if (options.ok()) return *options;
  fmt::print(stderr, "{}\n", options.error().what);
  std::exit(2);
}

Settings settings_of(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--calls") == 0) settings.calls = std::strtoll(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seed") == 0) settings.seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--segments-every") == 0) settings.segments_every = std::strtoll(argv[i + 1], nullptr, 10);
  }
  return settings;
}

int run(int argc, char** argv) {
  const Settings settings = settings_of(argc, argv);
  const AllocatorOptions options = options_of_environment();
  Json result = {{"seed", settings.seed}, {"cards", Json::array()}};
  for (int card = 0; card < RealAllocator::device_count(); ++card) {
    Comparison comparison(card, options, settings);
    const std::string text = comparison.run();
    if (!text.empty()) {
      fmt::print(stderr, "seed {}, card {}: {}\n", settings.seed, card, text);
      return 1;
    }
    result["cards"].push_back(comparison.summary());
  }
  fmt::print("{}\n", result.dump());
  return 0;
}

}  // namespace
}  // namespace vramwise

int main(int argc, char** argv) { return vramwise::run(argc, argv); }
