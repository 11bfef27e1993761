// The facts of a card that decide how much temporary memory PyTorch's kernels take.
#pragma once

#include <cstdint>

namespace vramwise::tape {

struct Hardware {
  int capability = 86;            ///< compute capability, major × 10 + minor
  int sm_count = 82;              ///< streaming multiprocessors
  int max_threads_per_sm = 1536;  ///< resident threads: 2048 on 8.0, 9.0 and 10.0, 1024 on 7.5, 1536 on 8.6, 8.9, 12.0
  std::int64_t total_bytes = 0;   ///< memory of the card, 0 where it does not matter
  /// Below so many operations for each byte that it touches a matrix product takes as long as its traffic; 0: none
  /// does.
  double flops_per_byte_16bit = 0;
  double flops_per_byte_fp32 = 0;

  /// The card as NVIDIA's tables of compute capabilities have it.
  static Hardware of(int capability, int sm_count, std::int64_t total_bytes = 0);
};

}  // namespace vramwise::tape
