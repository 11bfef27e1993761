// FNV-1a (offset basis and prime of its 64-bit form) over 8-byte little-endian words rather than bytes, for speed: it
// has to keep up with a disk. The last word is filled up with zeros, and the length comes last, as a word.
#include "io/checksum.h"

#include <bit>
#include <cstring>
#include <utility>

namespace vramwise {

static_assert(std::endian::native == std::endian::little, "words are taken as they lie in memory");

void Checksum::mix(std::uint64_t word) {
  constexpr std::uint64_t kPrime = 0x100000001b3U;
  state_ = (state_ ^ word) * kPrime;
  state_ ^= state_ >> 29;  // a product carries only upwards; without this the low bits would see little of a word
}

void Checksum::add(std::span<const std::byte> bytes) {
  const auto add_byte = [this](std::byte byte) {
    word_ |= std::to_integer<std::uint64_t>(byte) << (8 * (length_ % 8));
    if (++length_ % 8 == 0) mix(std::exchange(word_, 0));
  };
  while (!bytes.empty() && length_ % 8 != 0) {
    add_byte(bytes.front());
    bytes = bytes.subspan(1);
  }
  for (; bytes.size() >= 8; bytes = bytes.subspan(8), length_ += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    mix(word);
  }
  for (const std::byte byte : bytes) add_byte(byte);
}

std::uint64_t Checksum::value() const {
  Checksum whole = *this;
  if (length_ % 8 != 0) whole.mix(word_);
  whole.mix(length_);
  return whole.state_;
}

}  // namespace vramwise
