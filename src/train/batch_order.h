// Which sequences a step trains on: a function of the seed and of how many sequences were taken before, and of nothing
// else. How a batch is cut into micro-batches or spread over devices does not show in it, so a run may change that
// half-way (less memory than hoped for) or be continued from a checkpoint, and see the same sequences.
#pragma once

#include <cstdint>
#include <vector>

namespace vramwise {

/// Training. The text is cut into windows of seq_len tokens; each epoch visits all of them once, in an order of its
/// own, with the cuts shifted by an amount of its own.
class BatchOrder {
 public:
  /// `tokens` ≥ seq_len + 1: each sequence also needs the token after its last.
  BatchOrder(std::int64_t tokens, std::int64_t seq_len, std::uint64_t seed);

  /// Offset of the first token of sequence `index` (≥ 0, counted from the start of the run).
  std::int64_t start_of(std::int64_t index) const;

  std::int64_t sequences_per_epoch() const { return windows_; }

 private:
  std::int64_t seq_len_;
  std::uint64_t seed_;
  std::int64_t windows_;  ///< of an epoch
  std::int64_t slack_;    ///< tokens that all windows together can be shifted by
};

/// Validation: up to `most` sequences that don't overlap, spread evenly over the text; the same ones each time.
std::vector<std::int64_t> validation_starts(std::int64_t tokens, std::int64_t seq_len, std::int64_t most);

/// `share` sequences in as few micro-batches of at most `micro_batch` as possible, of sizes as equal as possible: 15 by
/// 7 is 5 + 5 + 5.
std::vector<std::int64_t> split_into_micro_batches(std::int64_t share, std::int64_t micro_batch);

}  // namespace vramwise
