// Bytes: one signed 64-bit count of bytes with checked arithmetic. A deficit is an ordinary negative value.
#pragma once

#include <compare>
#include <cstdint>

#include "base/check.h"

namespace vramwise {

class Bytes {
 public:
  constexpr Bytes() = default;
  constexpr explicit Bytes(std::int64_t count) : count_(count) {}

  static constexpr Bytes kib(std::int64_t n) { return Bytes(1024) * n; }
  static constexpr Bytes mib(std::int64_t n) { return Bytes(std::int64_t{1} << 20) * n; }
  static constexpr Bytes gib(std::int64_t n) { return Bytes(std::int64_t{1} << 30) * n; }

  constexpr std::int64_t count() const { return count_; }
  constexpr double in_mib() const { return static_cast<double>(count_) / (1 << 20); }
  constexpr double in_gib() const { return static_cast<double>(count_) / (1 << 30); }

  constexpr Bytes operator+(Bytes other) const {
    std::int64_t sum = 0;
    VRAMWISE_CHECK(!__builtin_add_overflow(count_, other.count_, &sum));
    return Bytes(sum);
  }
  constexpr Bytes operator-(Bytes other) const {
    std::int64_t difference = 0;
    VRAMWISE_CHECK(!__builtin_sub_overflow(count_, other.count_, &difference));
    return Bytes(difference);
  }
  constexpr Bytes operator*(std::int64_t factor) const {
    std::int64_t product = 0;
    VRAMWISE_CHECK(!__builtin_mul_overflow(count_, factor, &product));
    return Bytes(product);
  }
  constexpr Bytes operator/(std::int64_t divisor) const {
    VRAMWISE_CHECK(divisor != 0);
    return Bytes(count_ / divisor);
  }
  constexpr Bytes operator-() const { return Bytes(0) - *this; }
  constexpr Bytes& operator+=(Bytes other) { return *this = *this + other; }
  constexpr Bytes& operator-=(Bytes other) { return *this = *this - other; }

  constexpr auto operator<=>(const Bytes&) const = default;

  /// The next multiple of `granule` (> 0); the value itself when it is one. For values ≥ 0.
  constexpr Bytes rounded_up(Bytes granule) const {
    VRAMWISE_CHECK(granule.count_ > 0 && count_ >= 0);
    return (*this + granule - Bytes(1)) / granule.count_ * granule.count_;
  }

 private:
  std::int64_t count_ = 0;
};

}  // namespace vramwise
