// Text that a model writes: what a run is about, seen by a person.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/decoder.h"

namespace vramwise {

struct SampleSettings {
  std::int64_t tokens = 200;   ///< to write
  std::int64_t context = 256;  ///< tokens the model may look back to: the sequence length it was trained on
  double temperature = 0.8;    ///< above 0
  std::int64_t top_k = 50;     ///< choose among so many
  std::uint64_t seed = 0;
};

/// What follows `prompt` (at least one token). The same tokens for the same seed and weights.
std::vector<std::int64_t> sample(Decoder& decoder, const std::vector<std::int64_t>& prompt,
                                 const SampleSettings& settings);

}  // namespace vramwise
