// Seeded sequences of calls to an allocator, made to meet every rule of it: sizes at all thresholds, several streams,
// blocks freed in order, in reverse and at random, steps that repeat with other sizes, tight and ample memory.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace vramwise {

struct Call {
  enum class Kind { kAllocate, kFree, kRecordStream, kEmptyCache };
  Kind kind = Kind::kAllocate;
  std::int64_t bytes = 0;
  int stream = 0;
  std::size_t place = 0;  ///< in the list of live allocations: which to free (the last takes its place), or to record
};

class RandomCalls {
 public:
  /// `capacity`: how much may be live, about; sequences go beyond it now and then.
  RandomCalls(std::uint64_t seed, std::int64_t capacity, int streams);

  /// `live_count` and `live_bytes`: what is allocated now.
  Call next(std::size_t live_count, std::int64_t live_bytes);

 private:
  /// Some hundred calls of one character.
  struct Chapter {
    int calls_left = 0;
    int order = 0;        ///< of freeing: 0 last first, 1 first first, 2 any
    double growth = 0.5;  ///< how often memory is asked for while less than `target` is live
    std::int64_t target = 0;
    std::int64_t largest = 0;
    unsigned size_kinds = 0;  ///< bits: which kinds of size() occur
    int streams = 1;
    int record_per_mille = 0;
    int empty_per_mille = 0;
    std::vector<std::int64_t> repeated;
  };

  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  bool per_mille(int chance) { return static_cast<int>(below(1000)) < chance; }
  std::int64_t log_uniform(std::int64_t low, std::int64_t high);
  std::int64_t size();
  std::int64_t size_of_kind(unsigned kind);
  void start_chapter();

  std::mt19937_64 random_;
  std::int64_t capacity_;
  int streams_;
  Chapter chapter_;
  bool first_ = true;
};

}  // namespace vramwise
