// One table under one lock; an uncontended look-up costs some 30 ns. Entries of storages that died are swept when the
// table has doubled.
#include "values/extension/truth.h"

#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "values/extension/intervals.h"

namespace vramwise::values {
namespace {

/// A strided tensor of more pieces than this is treated as its whole span when forgotten, and not as known otherwise.
constexpr std::int64_t kMostPieces = 4096;
constexpr std::size_t kLeastSwept = 1024;

struct Entry {
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  const void* data = nullptr;  ///< a storage may get other memory (resize_, FSDP's flat parameters)
  IntervalSet known;
  std::optional<c10::Scalar> uniform;
  c10::ScalarType uniform_type = c10::ScalarType::Undefined;
};

struct Table {
  std::mutex mutex;
  std::unordered_map<c10::StorageImpl*, Entry> entries;
  std::size_t sweep_at = kLeastSwept;
  std::atomic<bool> used{false};
};

Table& table() {
  static auto* instance = new Table;  // never destroyed: PyTorch's threads outlive static objects
  return *instance;
}

c10::StorageImpl* storage_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

const void* data_of(const c10::StorageImpl& storage) { return storage.data_ptr().get(); }

/// The bytes of its storage that a tensor covers.
struct Footprint {
  Interval span;
  std::vector<Interval> pieces;  ///< empty: the span without holes, or too many pieces
  bool whole = true;             ///< the span is exactly what is covered
};

/// Adds the dimensions that lie outside of one dense block, from the innermost.
void add_pieces(Footprint& footprint, std::int64_t block,
                const std::vector<std::pair<std::int64_t, std::int64_t>>& outer) {
  footprint.pieces = {{footprint.span.begin, footprint.span.begin + block}};
  for (const auto& [stride, size] : outer) {
    const std::size_t count = footprint.pieces.size();
    for (std::int64_t i = 1; i < size; ++i) {
      for (std::size_t piece = 0; piece < count; ++piece) {
        const Interval first = footprint.pieces[piece];
        footprint.pieces.push_back({first.begin + i * stride, first.end + i * stride});
      }
    }
  }
}

Footprint footprint_of(const at::Tensor& tensor) {
  const auto item = static_cast<std::int64_t>(tensor.itemsize());
  const std::int64_t begin = tensor.storage_offset() * item;
  Footprint footprint;
  if (tensor.numel() == 0) {
    footprint.span = {begin, begin};
    return footprint;
  }
  if (tensor.is_contiguous()) {
    footprint.span = {begin, begin + tensor.numel() * item};
    return footprint;
  }
  std::vector<std::pair<std::int64_t, std::int64_t>> dimensions;  // stride in bytes, size
  std::int64_t end = begin + item;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.size(d) == 1 || tensor.stride(d) == 0) continue;
    dimensions.emplace_back(tensor.stride(d) * item, tensor.size(d));
    end += (tensor.size(d) - 1) * tensor.stride(d) * item;
  }
  std::sort(dimensions.begin(), dimensions.end());
  footprint.span = {begin, end};
  std::int64_t block = item;
  std::size_t inner = 0;
  while (inner < dimensions.size() && dimensions[inner].first <= block) {
    block = std::max(block, dimensions[inner].first * (dimensions[inner].second - 1) + block);
    ++inner;
  }
  dimensions.erase(dimensions.begin(), dimensions.begin() + static_cast<std::ptrdiff_t>(inner));
  if (dimensions.empty()) return footprint;
  footprint.whole = false;
  std::int64_t pieces = 1;
  for (const auto& dimension : dimensions) pieces = std::min(kMostPieces + 1, pieces * dimension.second);
  if (pieces <= kMostPieces) add_pieces(footprint, block, dimensions);
  return footprint;
}

bool contains(const IntervalSet& set, const Footprint& footprint) {
  if (set.contains(footprint.span)) return true;
  if (footprint.whole || footprint.pieces.empty()) return false;
  return std::all_of(footprint.pieces.begin(), footprint.pieces.end(),
                     [&](const Interval& piece) { return set.contains(piece); });
}

/// The live entry of a storage; null: there is none, or its memory is another now.
Entry* find(Table& all, c10::StorageImpl* storage) {
  const auto found = all.entries.find(storage);
  if (found == all.entries.end() || found->second.data != data_of(*storage)) return nullptr;
  return &found->second;
}

void sweep(Table& all) {
  for (auto it = all.entries.begin(); it != all.entries.end();) {
    it = it->second.storage.expired() ? all.entries.erase(it) : std::next(it);
  }
  all.sweep_at = std::max(kLeastSwept, all.entries.size() * 2);
}

Entry& find_or_add(Table& all, const at::Tensor& tensor) {
  c10::StorageImpl* storage = storage_of(tensor);
  auto found = all.entries.find(storage);
  if (found == all.entries.end()) {
    if (all.entries.size() >= all.sweep_at) sweep(all);
    Entry entry{c10::weak_intrusive_ptr<c10::StorageImpl>(tensor.storage().getWeakStorageImpl()), nullptr, {}, {}, {}};
    found = all.entries.emplace(storage, std::move(entry)).first;
    all.used.store(true, std::memory_order_relaxed);
  }
  Entry& entry = found->second;
  if (entry.data != data_of(*storage)) {
    entry.data = data_of(*storage);
    entry.known.clear();
    entry.uniform.reset();
  }
  return entry;
}

}  // namespace

Knowledge knowledge_of(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return {Known::kYes, {}};
  c10::StorageImpl* storage = storage_of(tensor);
  Table& all = table();
  if (storage == nullptr || !anything_known()) return {};
  const std::lock_guard<std::mutex> lock(all.mutex);
  const Entry* entry = find(all, storage);
  if (entry == nullptr) return {};
  if (entry->uniform.has_value()) {
    if (entry->uniform_type != tensor.scalar_type()) return {};
    return {Known::kUniform, *entry->uniform};
  }
  return {contains(entry->known, footprint_of(tensor)) ? Known::kYes : Known::kNo, {}};
}

bool partly_known(const at::Tensor& tensor) {
  c10::StorageImpl* storage = storage_of(tensor);
  Table& all = table();
  if (storage == nullptr || !anything_known()) return false;
  const std::lock_guard<std::mutex> lock(all.mutex);
  const Entry* entry = find(all, storage);
  return entry != nullptr && (entry->uniform.has_value() || entry->known.touches(footprint_of(tensor).span));
}

void set_known(const at::Tensor& tensor) {
  if (storage_of(tensor) == nullptr) return;
  const Footprint footprint = footprint_of(tensor);
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  Entry& entry = find_or_add(all, tensor);
  if (entry.uniform.has_value()) {
    entry.uniform.reset();
    entry.known.clear();
  }
  if (footprint.whole) {
    entry.known.add(footprint.span);
  } else {
    for (const Interval& piece : footprint.pieces) entry.known.add(piece);
  }
}

bool set_uniform(const at::Tensor& tensor, const c10::Scalar& value) {
  c10::StorageImpl* storage = storage_of(tensor);
  if (storage == nullptr) return false;
  const Footprint footprint = footprint_of(tensor);
  const auto item = static_cast<std::int64_t>(tensor.itemsize());
  const bool everything = footprint.whole && footprint.span.begin == 0 &&
                          footprint.span.end + item > static_cast<std::int64_t>(storage->nbytes());
  if (!everything) {
    set_unknown(tensor);
    return false;
  }
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  Entry& entry = find_or_add(all, tensor);
  entry.known.clear();
  entry.uniform = value;
  entry.uniform_type = tensor.scalar_type();
  return true;
}

void set_unknown(const at::Tensor& tensor) {
  c10::StorageImpl* storage = storage_of(tensor);
  if (storage == nullptr || !anything_known()) return;
  Table& all = table();
  const std::lock_guard<std::mutex> lock(all.mutex);
  Entry* entry = find(all, storage);
  if (entry == nullptr) return;
  entry->uniform.reset();
  if (entry->known.empty()) return;
  const Footprint footprint = footprint_of(tensor);
  if (footprint.whole || footprint.pieces.empty()) {
    entry->known.remove(footprint.span);
  } else {
    for (const Interval& piece : footprint.pieces) entry->known.remove(piece);
  }
}

bool anything_known() { return table().used.load(std::memory_order_relaxed); }

}  // namespace vramwise::values
