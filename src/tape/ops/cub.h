// Temporary storage of the CUB algorithms that PyTorch's kernels call (CUB of CUDA 13.0,
// torch/aten/src/ATen/cuda/cub.cu).
#pragma once

#include <cstdint>

#include "tape/hardware.h"

namespace vramwise::tape::cub {

/// DeviceRadixSort::SortPairs of int64 keys with int64 values, of which `bits` are looked at.
std::int64_t sort_pairs_bytes(const Hardware& card, std::int64_t count, int bits);
/// DeviceSelect::UniqueByKey with int64 keys and values.
std::int64_t unique_by_key_bytes(const Hardware& card, std::int64_t count);
/// DeviceReduce::Sum of int32.
std::int64_t reduce_bytes(const Hardware& card, std::int64_t count);
/// DeviceSelect::Flagged of positions (int64).
std::int64_t select_flagged_bytes(const Hardware& card, std::int64_t count);
/// DeviceScan over elements of 2, 4 or 8 bytes.
std::int64_t scan_bytes(std::int64_t count, std::int64_t element_bytes);
/// How many bits hold the numbers up to `largest` (at::cuda::cub::get_num_bits).
int bits_for(std::uint64_t largest);

}  // namespace vramwise::tape::cub
