// A permutation that needs no memory: a Feistel network permutes [0, 4^b), and numbers that fall outside [0, n) are
// sent through it again until they fall inside ("cycle walking": Black and Rogaway, Ciphers with Arbitrary Finite
// Domains, 2002). Mixing is SplitMix64's finalizer (Steele, Lea and Flood, 2014).
#include "train/batch_order.h"

#include <algorithm>

#include "base/check.h"

namespace vramwise {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

std::uint64_t permute(std::uint64_t value, std::uint64_t n, std::uint64_t key) {
  int half_bits = 1;
  while ((std::uint64_t{1} << (2 * half_bits)) < n) ++half_bits;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  do {
    std::uint64_t left = value >> half_bits;
    std::uint64_t right = value & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t mixed = mix(right ^ mix(key + round)) & mask;
      const std::uint64_t old_left = left;
      left = right;
      right = old_left ^ mixed;
    }
    value = left << half_bits | right;
  } while (value >= n);
  return value;
}

}  // namespace

BatchOrder::BatchOrder(std::int64_t tokens, std::int64_t seq_len, std::uint64_t seed) : seq_len_(seq_len), seed_(seed) {
  VRAMWISE_CHECK(seq_len >= 1 && tokens >= seq_len + 1);
  // One window less than would fit leaves room to shift the cuts by up to a whole window; a text of one or two windows
  // has only what is left over.
  const std::int64_t fitting = (tokens - 1) / seq_len;
  windows_ = fitting > 2 ? fitting - 1 : fitting;
  slack_ = std::min(seq_len - 1, tokens - 1 - windows_ * seq_len);
}

std::int64_t BatchOrder::start_of(std::int64_t index) const {
  const auto epoch = static_cast<std::uint64_t>(index / windows_);
  const auto place = static_cast<std::uint64_t>(index % windows_);
  const std::uint64_t key = mix(seed_ ^ mix(epoch));
  const auto shift = static_cast<std::int64_t>(mix(key) % static_cast<std::uint64_t>(slack_ + 1));
  const std::uint64_t window = permute(place, static_cast<std::uint64_t>(windows_), key);
  return shift + static_cast<std::int64_t>(window) * seq_len_;
}

std::vector<std::int64_t> validation_starts(std::int64_t tokens, std::int64_t seq_len, std::int64_t most) {
  const std::int64_t fitting = (tokens - 1) / seq_len;
  const std::int64_t count = std::min(fitting, most);
  std::vector<std::int64_t> starts;
  starts.reserve(static_cast<std::size_t>(std::max<std::int64_t>(0, count)));
  for (std::int64_t i = 0; i < count; ++i) {
    // fitting * i stays far below 2^63: both are counts of sequences that lie in files.
    starts.push_back(fitting * i / count * seq_len);
  }
  return starts;
}

std::vector<std::int64_t> split_into_micro_batches(std::int64_t share, std::int64_t micro_batch) {
  VRAMWISE_CHECK(share >= 0 && micro_batch >= 1);
  const std::int64_t count = (share + micro_batch - 1) / micro_batch;
  std::vector<std::int64_t> sizes;
  sizes.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) sizes.push_back(share / count + (i < share % count ? 1 : 0));
  return sizes;
}

}  // namespace vramwise
