// Small cudaMalloc requests share granules: the driver cuts them out of 2 MiB chunks of their own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/bytes.h"

namespace vramwise::emulator {

/// Requests up to this size are cut out of a shared chunk; larger ones get granules of their own. NVIDIA documents
/// neither figure; PyTorch's caching allocator asks for 2 MiB and more, so that only libraries that call cudaMalloc
/// themselves meet this.
inline constexpr Bytes kLargestSmallBlock = Bytes::mib(1);
/// Alignment of device memory (CUDA C++ Programming Guide: at least 256 bytes); what cudaMalloc(1) is seen to step by.
inline constexpr Bytes kSmallBlockAlignment = Bytes(512);

class SmallBlocks {
 public:
  /// First fit in the chunks at hand; nullopt: a chunk is needed.
  std::optional<std::uintptr_t> allocate(Bytes size);
  /// A new chunk of one granule at `base`.
  void add_chunk(std::uintptr_t base);

  struct Freed {
    bool known = false;                           ///< false: `address` is no small block
    std::optional<std::uintptr_t> emptied_chunk;  ///< a chunk that may go back to the card
  };
  Freed free(std::uintptr_t address);

 private:
  struct Chunk {
    std::map<std::int64_t, std::int64_t> used;  ///< offset → size
  };
  std::map<std::uintptr_t, Chunk> chunks_;
};

}  // namespace vramwise::emulator
