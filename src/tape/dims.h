// Dims: up to six 64-bit numbers in place: the sizes or the strides (in elements) of a tensor.
//
// Six dimensions suffice for every op here, and a list in place costs no heap traffic in the hot path.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "base/check.h"

namespace vramwise::tape {

inline constexpr int kMaxRank = 6;

class Dims {
 public:
  constexpr Dims() = default;
  constexpr Dims(std::initializer_list<std::int64_t> values) : count_(static_cast<int>(values.size())) {
    VRAMWISE_CHECK(values.size() <= kMaxRank);
    std::copy(values.begin(), values.end(), values_);
  }
  /// `count` times `value`.
  static constexpr Dims filled(int count, std::int64_t value) {
    Dims dims;
    for (int i = 0; i < count; ++i) dims.push_back(value);
    return dims;
  }

  constexpr int size() const { return count_; }
  constexpr bool empty() const { return count_ == 0; }
  constexpr std::int64_t operator[](int i) const { return values_[i]; }
  constexpr std::int64_t& operator[](int i) { return values_[i]; }
  constexpr const std::int64_t* begin() const { return values_; }
  constexpr const std::int64_t* end() const { return values_ + count_; }
  constexpr std::int64_t back() const { return values_[count_ - 1]; }

  constexpr void push_back(std::int64_t value) {
    VRAMWISE_CHECK(count_ < kMaxRank);
    values_[count_++] = value;
  }
  constexpr void insert(int at, std::int64_t value) {
    VRAMWISE_CHECK(count_ < kMaxRank);
    for (int i = count_++; i > at; --i) values_[i] = values_[i - 1];
    values_[at] = value;
  }
  constexpr void erase(int at) {
    for (int i = at + 1; i < count_; ++i) values_[i - 1] = values_[i];
    --count_;
  }

  /// The product: how many elements a tensor of these sizes has.
  constexpr std::int64_t product() const {
    std::int64_t product = 1;
    for (int i = 0; i < count_; ++i) product *= values_[i];
    return product;
  }

  friend constexpr bool operator==(const Dims& a, const Dims& b) {
    return a.count_ == b.count_ && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  std::int64_t values_[kMaxRank] = {};
  int count_ = 0;
};

/// `dim` counted from the front, where negative ones count from the end of `rank` dimensions.
constexpr int wrap_dim(int dim, int rank) {
  const int wrapped = dim < 0 ? dim + (rank == 0 ? 1 : rank) : dim;
  VRAMWISE_CHECK(wrapped >= 0 && wrapped < (rank == 0 ? 1 : rank));
  return wrapped;
}

/// The strides of a row-major tensor.
Dims contiguous_strides(const Dims& sizes);
/// The strides of a tensor (N, C, H, W) stored as (N, H, W, C).
Dims channels_last_strides(const Dims& sizes);

bool is_contiguous(const Dims& sizes, const Dims& strides);
bool is_channels_last(const Dims& sizes, const Dims& strides);
/// Whether PyTorch takes a tensor for one stored as (N, H, W, C) by its strides alone (suggest_memory_format).
bool suggests_channels_last(const Dims& sizes, const Dims& strides);
/// Whether the elements fill their memory without gaps, in whatever order.
bool is_dense(const Dims& sizes, const Dims& strides);

/// Strides without gaps, in the order of dimensions that `strides` has (at::infer_dense_strides).
Dims dense_strides_like(const Dims& sizes, const Dims& strides);

/// The common shape of two operands (numpy's rules). They must go together.
Dims broadcast(const Dims& a, const Dims& b);
bool is_expandable_to(const Dims& from, const Dims& to);

/// The strides with which a tensor of `sizes` and `strides` is seen as `wanted`, or an empty list where that takes a
/// copy (at::detail::computeStride). `wanted` has as many elements.
bool view_strides(const Dims& sizes, const Dims& strides, const Dims& wanted, Dims& result);

}  // namespace vramwise::tape
