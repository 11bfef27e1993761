// As _CachingTorchDispatchMode and _CachedTorchDispatchMode of torch/utils/checkpoint.py in PyTorch 2.14: results are
// kept detached, and a result that was changed in place since then is an error.

#include "tape/transforms/selective.h"

#include <utility>

#include "base/check.h"

namespace vramwise::tape {

bool SelectiveCache::take(KeptOp op, std::initializer_list<Tensor*> results) {
  if (!is_second_run_) return false;
  Queue& queue = queues_[static_cast<int>(op)];
  VRAMWISE_CHECK(queue.next < queue.entries.size());
  const std::vector<Kept> entry = std::exchange(queue.entries[queue.next++], {});
  if (entry.empty()) return false;
  auto kept = entry.begin();
  for (Tensor* result : results) {
    if (kept->tensor.defined() && kept->tensor->storage->changes != kept->changes)
      kept->tensor.tape().note_changed_result();
    *result = (kept++)->tensor;
  }
  return true;
}

void SelectiveCache::put(KeptOp op, std::initializer_list<Tensor*> results) {
  if (is_second_run_) return;
  Queue& queue = queues_[static_cast<int>(op)];
  std::vector<Kept>& entry = queue.entries.emplace_back();
  const bool is_every_second = op == KeptOp::kMm && queue.entries.size() % 2 == 0;
  if (is_every_second) return;
  for (const Tensor* result : results) {
    Kept& kept = entry.emplace_back();
    const Tensor& x = *result;
    if (!x.defined()) continue;
    kept.tensor = x.tape().alias(x, x.sizes(), x.strides(), x->offset);
    kept.changes = x->storage->changes;
  }
}

}  // namespace vramwise::tape
