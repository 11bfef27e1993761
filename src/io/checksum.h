// Checksum: 64 bits that tell whether bytes are still the ones that were written. It finds damage, not forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vramwise {

/// Takes bytes in pieces; equal for equal bytes however they are cut.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  void mix(std::uint64_t word);

  std::uint64_t state_ = 0xcbf29ce484222325U;
  std::uint64_t word_ = 0;  ///< bytes that do not fill a word yet
  std::uint64_t length_ = 0;
};

}  // namespace vramwise
