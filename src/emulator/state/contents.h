// What emulated device memory contains. Copies and fills are really done where that is cheap, so that a program which
// looks at a value it put there (input ids, a loss scale, an index) sees it; large contents, which no control flow
// hangs on, are left out.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "emulator/state/address_space.h"

namespace vramwise::emulator {

struct ContentCounts {
  std::int64_t copies = 0;
  std::int64_t skipped_copies = 0;
  Bytes skipped_bytes;
  std::int64_t reads_by_host = 0;  ///< copies from device to host: what the program looked at
};

class Contents {
 public:
  explicit Contents(AddressSpace& space) : space_(space) {}

  /// As memmove, between any two places.
  void copy(void* to, const void* from, Bytes size);
  /// As memset; `pattern` of 1, 2 or 4 bytes repeated `count` times.
  void fill(void* to, std::uint32_t pattern, int pattern_bytes, std::int64_t count);

  const ContentCounts& counts() const { return counts_; }

 private:
  void to_device(Region& target, void* to, const void* from, Bytes size);
  void to_host(const Region& source, void* to, const void* from, Bytes size);
  void on_device(Region& target, const Region& source, void* to, const void* from, Bytes size);
  void skip(Region& target, void* to, Bytes size);
  void count_skipped(Bytes size);

  AddressSpace& space_;
  ContentCounts counts_;
};

}  // namespace vramwise::emulator
