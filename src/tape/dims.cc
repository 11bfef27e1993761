// Sizes and strides: contiguity, broadcasting and views, by the rules of c10/core/Contiguity.h, ATen/ExpandUtils.cpp
// and ATen/TensorUtils.cpp of PyTorch 2.14.

#include "tape/dims.h"

namespace vramwise::tape {

Dims contiguous_strides(const Dims& sizes) {
  Dims strides = Dims::filled(sizes.size(), 1);
  for (int i = sizes.size() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<std::int64_t>(sizes[i + 1], 1);
  return strides;
}

Dims channels_last_strides(const Dims& sizes) {
  VRAMWISE_CHECK(sizes.size() == 4);
  const std::int64_t c = sizes[1];
  const std::int64_t h = sizes[2];
  const std::int64_t w = sizes[3];
  return {h * w * c, 1, w * c, c};
}

bool is_contiguous(const Dims& sizes, const Dims& strides) {
  if (sizes.product() == 0) return true;
  std::int64_t expected = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    if (sizes[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

bool is_channels_last(const Dims& sizes, const Dims& strides) {
  if (sizes.size() != 4) return false;
  std::int64_t expected = 1;
  for (const int i : {1, 3, 2, 0}) {
    if (sizes[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

// c10/core/MemoryFormat.h, is_channels_last_strides_2d_s4: gaps are allowed; what is ambiguous is (N, C, H, W).
bool suggests_channels_last(const Dims& sizes, const Dims& strides) {
  if (sizes.size() != 4 || strides[1] == 0) return false;
  std::int64_t least = 0;
  for (const int i : {1, 3, 2, 0}) {
    if (sizes[i] == 0 || strides[i] < least) return false;
    if (i == 0 && least == strides[1]) return false;
    least = strides[i] * std::max<std::int64_t>(sizes[i], 1);
  }
  return true;
}

bool is_dense(const Dims& sizes, const Dims& strides) {
  if (is_contiguous(sizes, strides)) return true;
  // By stride, the innermost first; dimensions of one element last.
  int order[kMaxRank] = {};
  const auto inside = [&](int a, int b) { return sizes[a] >= 2 && (sizes[b] < 2 || strides[a] < strides[b]); };
  for (int i = 0; i < sizes.size(); ++i) {
    int at = i;
    for (; at > 0 && inside(i, order[at - 1]); --at) order[at] = order[at - 1];
    order[at] = i;
  }
  std::int64_t expected = 1;
  for (int i = 0; i < sizes.size(); ++i) {
    if (sizes[order[i]] < 2) return true;
    if (strides[order[i]] != expected) return false;
    expected *= sizes[order[i]];
  }
  return true;
}

Dims dense_strides_like(const Dims& sizes, const Dims& strides) {
  const int rank = sizes.size();
  int order[kMaxRank] = {};
  for (int i = 0; i < rank; ++i) order[i] = rank - 1 - i;
  // Whether dimension a belongs outside dimension b: 1 yes, -1 no, 0 undecided.
  const auto outside = [&](int a, int b) {
    if (strides[a] == 0 || strides[b] == 0) return 0;
    if (strides[a] != strides[b]) return strides[a] < strides[b] ? -1 : 1;
    return sizes[a] > sizes[b] ? 1 : 0;
  };
  for (int i = 1; i < rank; ++i) {
    int at = i;
    for (int j = i - 1; j >= 0; --j) {
      const int comparison = outside(order[j], order[at]);
      if (comparison > 0) {
        std::swap(order[j], order[at]);
        at = j;
      } else if (comparison < 0) {
        break;
      }
    }
  }
  Dims dense = Dims::filled(rank, 1);
  std::int64_t next = 1;
  for (int i = 0; i < rank; ++i) {
    dense[order[i]] = next;
    next *= std::max<std::int64_t>(sizes[order[i]], 1);
  }
  return dense;
}

Dims broadcast(const Dims& a, const Dims& b) {
  const int rank = std::max(a.size(), b.size());
  Dims result = Dims::filled(rank, 1);
  for (int i = 0; i < rank; ++i) {
    const int in_a = a.size() - rank + i;
    const int in_b = b.size() - rank + i;
    const std::int64_t size_a = in_a >= 0 ? a[in_a] : 1;
    const std::int64_t size_b = in_b >= 0 ? b[in_b] : 1;
    VRAMWISE_CHECK(size_a == size_b || size_a == 1 || size_b == 1);
    result[i] = size_a == 1 ? size_b : size_a;
  }
  return result;
}

bool is_expandable_to(const Dims& from, const Dims& to) {
  if (from.size() > to.size()) return false;
  for (int i = 1; i <= from.size(); ++i) {
    if (from[from.size() - i] != 1 && from[from.size() - i] != to[to.size() - i]) return false;
  }
  return true;
}

bool view_strides(const Dims& sizes, const Dims& strides, const Dims& wanted, Dims& result) {
  const std::int64_t count = sizes.product();
  if (count == 0) {
    result = sizes == wanted ? strides : contiguous_strides(wanted);
    return true;
  }
  result = Dims::filled(wanted.size(), 1);
  if (sizes.empty()) return true;
  // Runs of old dimensions that lie in memory as one are cut into the wanted sizes, from the innermost outwards.
  int at = wanted.size() - 1;
  std::int64_t base = strides.back();
  std::int64_t in_run = 1;
  std::int64_t seen = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    in_run *= sizes[i];
    const bool ends_run = i == 0 || (sizes[i - 1] != 1 && strides[i - 1] != in_run * base);
    if (!ends_run) continue;
    while (at >= 0 && (seen < in_run || wanted[at] == 1)) {
      result[at] = seen * base;
      seen *= wanted[at];
      --at;
    }
    if (seen != in_run) return false;
    if (i > 0) {
      base = strides[i - 1];
      in_run = 1;
      seen = 1;
    }
  }
  return at == -1;
}

}  // namespace vramwise::tape
